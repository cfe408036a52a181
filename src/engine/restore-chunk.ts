import { codecOf } from '../domain/compression.ts'
import { AgentError, hasCode } from '../domain/errors.ts'
import type { Extent } from '../domain/extents.ts'
import type { ExtentResult, ExtentTask } from '../domain/lane-tasks.ts'
import type { StoredChunk } from '../domain/stored-chunk.ts'
import type { ObjectId, ObjectSink, ObjectStore } from '../ports/object-store.ts'
import type { VolumeWriter } from '../ports/volumes.ts'
import { unpack } from './block-codecs.ts'
import { isZeros } from './block-digests.ts'
import { fetchParts, partsWorthFetching } from './fetch-parts.ts'
import type { LaneTools } from './lane-tools.ts'
import { type SparseWriter, sparseWriter } from './sparse-write.ts'
import { streamChunk } from './stream-chunk.ts'
import { areCovered, mayBeZeros, verifyChunk } from './verify-chunk.ts'

/** What a lane has at hand for one task. */
export type ExtentBench = {
  readonly volume: VolumeWriter
  readonly store: ObjectStore
  readonly tools: LaneTools
}

type ChunkTask = Extract<ExtentTask, { kind: 'chunk' }>

const streamBufferBytes = 4_194_304

/**
 * Fetches one object and writes the pieces of it that the task names: after its length and digests were
 * verified or, where it is too large to be held, while it comes. Rejects with CHUNK_CORRUPT or
 * OBJECT_NOT_FOUND, naming object, offset and length, and whether anything of it was written; with what
 * the volume or the store rejects with; or with the signal's reason.
 */
export async function restoreExtent(
  task: ExtentTask,
  { volume, store, tools }: ExtentBench,
  signal: AbortSignal,
): Promise<ExtentResult> {
  const writer = sparseWriter(volume, task.volumeIsNew, tools.accelerator)
  if (task.kind === 'zeros') {
    await writer.writeZeros(task.extent, signal)
    return { fetchedBytes: 0 }
  }
  const { chunk, bytesHeldMax } = task
  const isHeld = chunk.lengthBytes <= bytesHeldMax
  try {
    if (isHeld) return { fetchedBytes: await restoreHeld(task, store, writer, tools, signal) }
    const buffer = tools.buffers.plain(Math.min(streamBufferBytes, bytesHeldMax))
    return {
      fetchedBytes: await streamChunk(
        { ...task, buffer },
        store,
        writer,
        tools.accelerator,
        signal,
      ),
    }
  } catch (error) {
    signal.throwIfAborted()
    if (isHeld) throw chunkError(error, chunk, 'nothing of it was written')
    throw chunkError(error, chunk, 'this extent of the volume may hold bad bytes', {
      badExtent: { offsetBytes: chunk.offsetBytes, lengthBytes: chunk.lengthBytes },
    })
  }
}

/**
 * What is wrong with a chunk that came undigested may be the transfer's fault: it is fetched once more,
 * and then the store must vouch for it.
 */
async function restoreHeld(
  task: ChunkTask,
  store: ObjectStore,
  writer: SparseWriter,
  tools: LaneTools,
  signal: AbortSignal,
): Promise<number> {
  const held = holder(task.chunk, tools)
  const id = { container: task.container, name: task.chunk.name }
  const inParts = await restoreParts(task, id, store, writer, tools, signal)
  if (inParts.isDone) return inParts.fetchedBytes
  const first = await store.getUndigested(id, held.sink, signal).catch(notCorrupt)
  try {
    if (first === null) throw new AgentError('CHUNK_CORRUPT', 'it does not fit its length')
    await writeHeld(task, held.bytes(), writer, tools, signal)
    tools.buffers.trim()
    return inParts.fetchedBytes + first
  } catch (error) {
    if (!hasCode(error, 'CHUNK_CORRUPT')) throw error
    const { sizeBytes } = await store.getObject(id, held.sink, signal)
    await writeHeld(task, held.bytes(), writer, tools, signal)
    return inParts.fetchedBytes + (first ?? 0) + sizeBytes
  }
}

/**
 * Of a chunk that is stored as it is, and much of which newer backups have, only what is needed is
 * fetched: the sha256file vouches for it. Not done where anything is wrong with that.
 */
async function restoreParts(
  { chunk, pieces, expected }: ChunkTask,
  id: ObjectId,
  store: ObjectStore,
  writer: SparseWriter,
  { accelerator, buffers }: LaneTools,
  signal: AbortSignal,
): Promise<{ readonly isDone: boolean; readonly fetchedBytes: number }> {
  const isPossible = isPlain(chunk) && areCovered(pieces, expected)
  const parts = isPossible ? partsWorthFetching(chunk, pieces) : null
  if (parts === null) return { isDone: false, fetchedBytes: 0 }
  const plain = buffers.plain(chunk.lengthBytes)
  const fetchedBytes = await fetchParts(store, id, parts, plain, signal)
  if (fetchedBytes === null) return { isDone: false, fetchedBytes: 0 }
  try {
    verifyChunk({ chunk, pieces, plain, stored: plain, expected }, accelerator)
  } catch {
    return { isDone: false, fetchedBytes }
  }
  await writePieces(chunk, pieces, plain, writer, signal)
  return { isDone: true, fetchedBytes }
}

function notCorrupt(error: unknown): null {
  if (hasCode(error, 'CHUNK_CORRUPT')) return null
  throw error
}

/** Decompresses and verifies a whole chunk, then writes its pieces. */
async function writeHeld(
  { chunk, pieces, expected }: ChunkTask,
  stored: Uint8Array,
  writer: SparseWriter,
  { accelerator, buffers, zeroBodies }: LaneTools,
  signal: AbortSignal,
): Promise<void> {
  if (zeroBodies.has(chunk, stored) && mayBeZeros(pieces, expected)) {
    for (const piece of pieces) await writer.writeZeros(piece, signal)
    return
  }
  const plain = buffers.plain(chunk.lengthBytes)
  // What is stored as it is lies there already.
  if (!isPlain(chunk) || stored.byteLength !== plain.byteLength) {
    await unpack(stored, chunk.compression, plain, accelerator, signal)
  }
  signal.throwIfAborted()
  verifyChunk({ chunk, pieces, plain, stored, expected }, accelerator)
  if (isZeros(plain, accelerator)) zeroBodies.learn(chunk, stored)
  await writePieces(chunk, pieces, plain, writer, signal)
}

async function writePieces(
  chunk: StoredChunk,
  pieces: readonly Extent[],
  plain: Uint8Array,
  writer: SparseWriter,
  signal: AbortSignal,
): Promise<void> {
  for (const { offsetBytes, lengthBytes } of pieces) {
    const from = offsetBytes - chunk.offsetBytes
    await writer.write(offsetBytes, plain.subarray(from, from + lengthBytes), signal)
  }
}

const isPlain = ({ compression }: StoredChunk) => codecOf(compression) === 'none'

/** Collects an object in the lane's memory. */
function holder(chunk: StoredChunk, { buffers }: LaneTools) {
  const { lengthBytes } = chunk
  // Nothing that was ever written is larger; who sends more would have us read for ever.
  const into = isPlain(chunk) ? buffers.plain(lengthBytes) : buffers.stored(lengthBytes)
  let at = 0
  const sink: ObjectSink = {
    start() {
      at = 0
    },
    write(piece) {
      if (at + piece.byteLength > into.byteLength) {
        const what = isPlain(chunk) ? 'it holds more than' : 'it is larger than could be of'
        throw new AgentError('CHUNK_CORRUPT', `${what} its ${lengthBytes} bytes`)
      }
      into.set(piece, at)
      at += piece.byteLength
    },
  }
  return { sink, bytes: () => into.subarray(0, at) }
}

function chunkError(
  error: unknown,
  { name, offsetBytes, lengthBytes }: StoredChunk,
  consequence: string,
  context: Record<string, unknown> = {},
): unknown {
  const isOurs = hasCode(error, 'CHUNK_CORRUPT') || hasCode(error, 'OBJECT_NOT_FOUND')
  if (!isOurs) return error
  const what = error.code === 'CHUNK_CORRUPT' ? 'is corrupt' : 'is missing'
  return new AgentError(
    error.code,
    `chunk ${name} (offset ${offsetBytes}, ${lengthBytes} bytes) ${what}: ${error.message}; ` +
      consequence,
    { ...error.context, ...context, object: name, offsetBytes, lengthBytes },
    error,
  )
}
