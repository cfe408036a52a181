import { hash } from 'node:crypto'

import { digestBytes } from '../domain/extents.ts'
import type { PutChunk, WindowResult } from '../domain/lane-tasks.ts'
import type { StoredChunk } from '../domain/stored-chunk.ts'
import type { SpoolFile } from '../ports/spool.ts'
import { chunkRecordBytes, packChunk, unpackChunk } from './chunk-list.ts'
import { openRecordLog, type RecordLog } from './record-log.ts'

// The windows of a backup as they were done, in whatever order: what a backup that was cut short goes on
// from, and what its metadata is written from. Their digests lie in a file beside the log, at their place.

/** What must be the same for a backup to go on: else it begins anew. */
export type WindowLayout = {
  readonly backupId: string
  readonly parentId: string | null
  readonly container: string
  readonly prefix: string
  readonly sizeBytes: number
  readonly windowBytes: number
  readonly blockSizeBytes: number
  readonly zeroChunks: 'compat' | 'sparse'
}

export type DoneWindow = {
  readonly index: number
  readonly chunks: readonly PutChunk[]
  /** The beginning of the SHA-256 of the window's packed digests. */
  readonly digestsCheck: string
}

/** The chunks of a backup, in volume order. */
export type StoredChunks = {
  readonly count: () => number
  readonly read: () => AsyncIterable<StoredChunk>
}

export interface WindowLog extends StoredChunks {
  readonly layout: WindowLayout
  /** Packed digests of the whole volume, each window's at its place. */
  readonly digests: SpoolFile
  readonly windowCount: number
  isDone(index: number): boolean
  /** The volume's bytes in windows that are done. */
  doneBytes(): number
  /** Notes a window with its digests; what is noted outlives the agent. */
  add(index: number, result: WindowResult): Promise<void>
  /** What an earlier start noted and left whole, in the order it was noted. */
  done(): AsyncIterable<DoneWindow>
  /** Keeps of the windows that are done only those for which `isKept` says so. */
  keepOnly(isKept: (window: DoneWindow) => boolean | Promise<boolean>): Promise<void>
}

const checkBytes = 16
const headBytes = 4 + checkBytes
const storedBytesAt = chunkRecordBytes
const storedMd5At = storedBytesAt + 8
const putBytes = storedMd5At + 16

/** Opens the log; one of another layout is forgotten. Rejects with what the spool rejects with. */
export async function openWindowLog(
  file: SpoolFile,
  digests: SpoolFile,
  layout: WindowLayout,
): Promise<WindowLog> {
  const records = await openRecordLog(file)
  const header = JSON.stringify(layout)
  if (records.header !== header) {
    await records.restart(header)
    await digests.clear()
  }
  const log = windowLog(records, digests, layout)
  await log.load()
  return log
}

function windowLog(records: RecordLog, digests: SpoolFile, layout: WindowLayout) {
  const { sizeBytes, windowBytes, blockSizeBytes, prefix } = layout
  const windowCount = Math.ceil(sizeBytes / windowBytes)
  const isDone = new Uint8Array(windowCount)
  let doneBytes = 0
  let chunkCount = 0

  const lengthOf = (index: number) => Math.min(windowBytes, sizeBytes - index * windowBytes)
  const placeOf = (index: number) => ({
    at: ((index * windowBytes) / blockSizeBytes) * digestBytes,
    bytes: Math.ceil(lengthOf(index) / blockSizeBytes) * digestBytes,
  })

  function mark({ index, chunks }: Pick<DoneWindow, 'index' | 'chunks'>): void {
    isDone[index] = 1
    doneBytes += lengthOf(index)
    chunkCount += chunks.length
  }

  async function* done(): AsyncGenerator<DoneWindow, void, undefined> {
    for await (const record of records.read()) {
      const window = unpackWindow(record, prefix)
      if (window.index < windowCount) yield window
    }
  }

  const hasItsDigests = ({ index, digestsCheck }: DoneWindow) =>
    isDigestOf(digestsCheck, digests, placeOf(index))

  async function keepOnly(isKept: Parameters<WindowLog['keepOnly']>[0]): Promise<void> {
    const kept: Buffer[] = []
    isDone.fill(0)
    doneBytes = 0
    chunkCount = 0
    for await (const window of done()) {
      if (isDone[window.index] === 1 || !(await isKept(window))) continue
      kept.push(packWindow(window, prefix))
      mark(window)
    }
    await records.restart(JSON.stringify(layout))
    for (const record of kept) await records.append(record)
  }

  return {
    layout,
    digests,
    windowCount,
    isDone: (index: number) => isDone[index] === 1,
    doneBytes: () => doneBytes,
    count: () => chunkCount,
    done,
    keepOnly,

    async load(): Promise<void> {
      let isWhole = true
      for await (const window of done()) {
        isWhole &&= isDone[window.index] === 0 && (await hasItsDigests(window))
        if (isWhole) mark(window)
      }
      if (!isWhole) await keepOnly(hasItsDigests)
    },

    async add(index: number, { digests: packed, chunks }: WindowResult): Promise<void> {
      await digests.write(placeOf(index).at, packed)
      const window = { index, chunks, digestsCheck: checkOf(packed) }
      await records.append(packWindow(window, prefix))
      mark(window)
    },

    read: () => inOrder(done()),
  }
}

type Place = { readonly at: number; readonly bytes: number }

async function isDigestOf(check: string, digests: SpoolFile, { at, bytes }: Place) {
  const packed = Buffer.allocUnsafe(bytes)
  return (await digests.read(at, packed)) === bytes && checkOf(packed) === check
}

/** The chunks of windows that were done nearly in order: few wait for the one before. */
async function* inOrder(
  windows: AsyncIterable<DoneWindow>,
): AsyncGenerator<StoredChunk, void, undefined> {
  const early = new Map<number, readonly PutChunk[]>()
  let next = 0
  for await (const { index, chunks } of windows) {
    early.set(index, chunks)
    for (let ready = early.get(next); ready !== undefined; ready = early.get(next)) {
      yield* ready
      early.delete(next)
      next += 1
    }
  }
}

function checkOf(packed: Uint8Array): string {
  return hash('sha256', packed).slice(0, 2 * checkBytes)
}

function packWindow({ index, chunks, digestsCheck }: DoneWindow, prefix: string): Buffer {
  const record = Buffer.alloc(headBytes + chunks.length * putBytes)
  record.writeUInt32LE(index, 0)
  record.write(digestsCheck, 4, 'hex')
  for (const [number, chunk] of chunks.entries()) {
    const at = headBytes + number * putBytes
    packChunk(chunk, prefix.length + 1, record.subarray(at, at + chunkRecordBytes))
    record.writeDoubleLE(chunk.storedBytes, at + storedBytesAt)
    record.write(chunk.storedMd5, at + storedMd5At, 'hex')
  }
  return record
}

function unpackWindow(record: Buffer, prefix: string): DoneWindow {
  const chunks: PutChunk[] = []
  for (let at = headBytes; at + putBytes <= record.byteLength; at += putBytes) {
    const one = record.subarray(at, at + putBytes)
    chunks.push({
      ...unpackChunk(one.subarray(0, chunkRecordBytes), prefix, 'start'),
      storedBytes: one.readDoubleLE(storedBytesAt),
      storedMd5: one.toString('hex', storedMd5At, putBytes),
    })
  }
  const digestsCheck = record.toString('hex', 4, headBytes)
  return { index: record.readUInt32LE(0), chunks, digestsCheck }
}
