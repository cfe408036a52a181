import { AgentError } from '../../domain/errors.ts'
import type { DataRun, VolumeReader, Volumes, VolumeWriter } from '../../ports/volumes.ts'
import { assertUuid } from './volume-id.ts'

/**
 * Volumes and snapshots that live in `bytes`, by their id. The map stays the caller's: what is put
 * there can be opened, what is restored can be read there, and replacing an entry is a device that
 * was swapped for another.
 */
export function memoryVolumes(bytes: ReadonlyMap<string, Uint8Array>): Volumes {
  const written = new Set<string>()

  function find(kind: 'volume' | 'snapshot', id: string): Uint8Array {
    assertUuid(`${kind}_id`, id)
    const content = bytes.get(id)
    if (content === undefined) {
      throw new AgentError('VOLUME_NOT_FOUND', `no ${kind} ${id} in memory`)
    }
    if (content.byteLength === 0) {
      throw new AgentError('VOLUME_INVALID_SIZE', `${kind} ${id} has a size of 0 bytes`)
    }
    return content
  }

  return {
    async openSource({ volumeId, snapshotId }, signal) {
      signal.throwIfAborted()
      assertUuid('volume_id', volumeId)
      const id = snapshotId ?? volumeId
      return memoryReader(id, find(snapshotId === null ? 'volume' : 'snapshot', id))
    },

    async openTarget(volumeId, signal) {
      signal.throwIfAborted()
      const content = find('volume', volumeId)
      if (written.has(volumeId)) {
        throw new AgentError('VOLUME_IN_USE', `volume ${volumeId} is being restored onto already`)
      }
      written.add(volumeId)
      return memoryWriter(volumeId, content, bytes, () => written.delete(volumeId))
    },
  }
}

const grainBytes = 4096

/** As a file system would tell it: of whole grains. */
function dataRunIn(content: Uint8Array, offsetBytes: number): DataRun | null {
  const holdsData = (at: number) => content.subarray(at, at + grainBytes).some((byte) => byte !== 0)
  const sizeBytes = content.byteLength
  let at = offsetBytes - (offsetBytes % grainBytes)
  while (at < sizeBytes && !holdsData(at)) at += grainBytes
  if (at >= sizeBytes) return null
  const start = Math.max(at, offsetBytes)
  while (at < sizeBytes && holdsData(at)) at += grainBytes
  return { start, end: Math.min(at, sizeBytes) }
}

function memoryReader(id: string, content: Uint8Array): VolumeReader {
  const sizeBytes = content.byteLength
  return {
    path: `memory:${id}`,
    sizeBytes,
    shared: null,
    dataRun: (offsetBytes) => dataRunIn(content, offsetBytes),
    async read(offsetBytes, into) {
      if (offsetBytes + into.byteLength > sizeBytes) {
        throw new AgentError('VOLUME_CHANGED', `memory:${id} ends at ${sizeBytes} bytes`, {
          offsetBytes,
          lengthBytes: into.byteLength,
        })
      }
      into.set(content.subarray(offsetBytes, offsetBytes + into.byteLength))
    },
    sizeNow: async () => sizeBytes,
    async [Symbol.asyncDispose]() {},
  }
}

function memoryWriter(
  id: string,
  content: Uint8Array,
  bytes: ReadonlyMap<string, Uint8Array>,
  release: () => void,
): VolumeWriter {
  const reader = memoryReader(id, content)
  let isChecked = false
  let isOpen = true

  async function check(): Promise<void> {
    if (bytes.get(id) === content) isChecked = true
    else throw new AgentError('VOLUME_CHANGED', `memory:${id} is another volume than was opened`)
  }

  async function place(offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    if (!isChecked) await check()
    if (offsetBytes + lengthBytes <= content.byteLength) {
      return content.subarray(offsetBytes, offsetBytes + lengthBytes)
    }
    throw new AgentError('VOLUME_TOO_SMALL', `memory:${id} ends before the data does`, {
      offsetBytes,
      lengthBytes,
    })
  }

  return {
    ...reader,
    identity: `${reader.path} ${content.byteLength}`,
    epoch: `${epochOf(content)}`,
    check,
    async write(offsetBytes, data) {
      const part = await place(offsetBytes, data.byteLength)
      part.set(data)
    },
    async punch({ offsetBytes, lengthBytes }) {
      const part = await place(offsetBytes, lengthBytes)
      part.fill(0)
      return true
    },
    async sync() {},
    async [Symbol.asyncDispose]() {
      if (isOpen) release()
      isOpen = false
    },
  }
}

const epochs = new WeakMap<Uint8Array, number>()
let epochLast = 0

/** The same as long as the array is: another in its place is another device. */
function epochOf(content: Uint8Array): number {
  const known = epochs.get(content)
  if (known !== undefined) return known
  epochLast += 1
  epochs.set(content, epochLast)
  return epochLast
}
