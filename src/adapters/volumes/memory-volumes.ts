import { AgentError } from '../../domain/errors.ts'
import type { VolumeReader, Volumes, VolumeWriter } from '../../ports/volumes.ts'
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

function memoryReader(id: string, content: Uint8Array): VolumeReader {
  const sizeBytes = content.byteLength
  return {
    path: `memory:${id}`,
    sizeBytes,
    async read(offsetBytes, into) {
      if (offsetBytes + into.byteLength > sizeBytes) {
        throw new AgentError('VOLUME_CHANGED', `memory:${id} ends at ${sizeBytes} bytes`, {
          offsetBytes,
          lengthBytes: into.byteLength,
        })
      }
      into.set(content.subarray(offsetBytes, offsetBytes + into.byteLength))
    },
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
  return {
    ...reader,
    async write(offsetBytes, data) {
      if (!isChecked && bytes.get(id) !== content) {
        throw new AgentError('VOLUME_CHANGED', `memory:${id} is another volume than was opened`)
      }
      isChecked = true
      if (offsetBytes + data.byteLength > content.byteLength) {
        throw new AgentError('VOLUME_TOO_SMALL', `memory:${id} ends before the data does`, {
          offsetBytes,
          lengthBytes: data.byteLength,
        })
      }
      content.set(data, offsetBytes)
    },
    async sync() {},
    async [Symbol.asyncDispose]() {
      if (isOpen) release()
      isOpen = false
    },
  }
}
