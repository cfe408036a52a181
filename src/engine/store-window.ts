import { codecOf } from '../domain/compression.ts'
import type { PutChunk, WindowResult, WindowTask } from '../domain/lane-tasks.ts'
import { chunkName } from '../domain/object-names.ts'
import { delay } from '../lib/clock.ts'
import { breathe } from '../lib/event-loop.ts'
import { mapOrdered } from '../lib/map-ordered.ts'
import { pageBuffer } from '../lib/page-buffer.ts'
import type { ObjectStore } from '../ports/object-store.ts'
import type { VolumeReader } from '../ports/volumes.ts'
import { giveBackBody } from './block-codecs.ts'
import type { LaneTools } from './lane-tools.ts'
import { packExtent } from './pack-extent.ts'
import { type GatheredExtent, scanWindow } from './scan-window.ts'
import type { PackedBody } from './zero-chunks.ts'

/** What a lane has at hand for one task. */
export type WindowBench = {
  readonly volume: VolumeReader
  readonly store: ObjectStore
  readonly tools: LaneTools
  /** The first of so many chunk numbers that nobody else gets. */
  readonly numbers: (count: number) => Promise<number>
  /** Says that the buffers may serve another task, while `heldBytes` of other memory are still sent. */
  readonly free: (heldBytes: number) => void
}

/** Requests that one window has under way at most. */
const putsMax = 8

/** After so long a store counts as slow. */
const slowPutMs = 40

/** What is less than this part of its window is moved out of the buffers, which then serve the next one. */
const littlePart = 8

/**
 * Backs one window up: reads it once, digests it, and puts what the parent lacks. Rejects with the first
 * failure, or with the signal's reason; by then nothing that it started runs.
 */
export async function storeWindow(
  task: WindowTask,
  bench: WindowBench,
  signal: AbortSignal,
): Promise<WindowResult> {
  const { digests, isZero, extents } = await scanWindow(bench.volume, task, bench.tools, signal)
  if (task.parentDigests === null && isZero) {
    return { digests, chunks: await storeZeros(task, bench, signal) }
  }
  if (extents.length === 0) return { digests, chunks: [] }
  const first = await bench.numbers(extents.length)
  signal.throwIfAborted()
  const bytes = extents.reduce((sum, { plain }) => sum + plain.byteLength, 0)
  const isLittle = bytes * littlePart <= task.lengthBytes
  const put = isLittle ? putMoved : putInPlace
  return { digests, chunks: await put(task, extents, first, bench, signal) }
}

/** Compresses and sends in turns: what is ready is on its way while the next is compressed. */
async function putInPlace(
  task: WindowTask,
  extents: readonly GatheredExtent[],
  first: number,
  bench: WindowBench,
  signal: AbortSignal,
): Promise<readonly PutChunk[]> {
  let usesPlain = false
  const over = new AbortController()
  async function* packed(): AsyncGenerator<Packed, void, undefined> {
    for await (const one of packAll(task, extents, bench.tools, signal)) {
      usesPlain ||= one.body.compression === 'none'
      yield one
    }
    // While a store takes its time its lanes become more, and should not all sit on what is packed.
    if (!usesPlain) {
      const isSlow = delay(slowPutMs, over.signal)
      isSlow.then(
        () => over.signal.aborted || bench.tools.buffers.restPlain(),
        () => undefined,
      )
    }
  }
  const puts = mapOrdered(packed(), putsMax, signal, async (one, stop) => {
    const chunk = await putBody(task, one.extent, one.body, first + one.index, bench.store, stop)
    one.release()
    return chunk
  })
  try {
    return await Array.fromAsync(puts)
  } finally {
    over.abort()
    bench.tools.buffers.trim()
  }
}

/** The same for the little that changed: out of the buffers first, then all at once. */
async function putMoved(
  task: WindowTask,
  extents: readonly GatheredExtent[],
  first: number,
  bench: WindowBench,
  signal: AbortSignal,
): Promise<readonly PutChunk[]> {
  const moved: Packed[] = []
  let heldBytes = 0
  for await (const one of packAll(task, extents, bench.tools, signal)) {
    const body = { ...one.body, body: Buffer.from(one.body.body) }
    one.release()
    heldBytes += body.body.byteLength
    moved.push({ ...one, body })
  }
  bench.free(heldBytes)
  const puts = mapOrdered(moved, putsMax, signal, ({ extent, body, index }, stop) =>
    putBody(task, extent, body, first + index, bench.store, stop),
  )
  return Array.fromAsync(puts)
}

type Packed = {
  readonly extent: Extended
  readonly body: PackedBody
  readonly index: number
  /** Says that nobody uses the body any more. */
  readonly release: () => void
}

type Extended = { readonly offsetBytes: number; readonly lengthBytes: number }

async function* packAll(
  task: WindowTask,
  extents: readonly GatheredExtent[],
  tools: LaneTools,
  signal: AbortSignal,
): AsyncGenerator<Packed, void, undefined> {
  const bytes = extents.reduce((sum, { plain }) => sum + plain.byteLength, 0)
  const into = codecOf(task.compression) === 'none' ? Buffer.alloc(0) : tools.buffers.stored(bytes)
  let at = 0
  for (const [index, { offsetBytes, plain }] of extents.entries()) {
    const body = await packExtent(plain, into.subarray(at), task, tools, signal)
    at += plain.byteLength
    const isOwn = ![plain.buffer, into.buffer].includes(body.body.buffer)
    const release = () => isOwn && giveBackBody(body.body)
    yield { extent: { offsetBytes, lengthBytes: plain.byteLength }, body, index, release }
    await breathe() // What is under way moves on.
  }
}

async function putBody(
  { container, prefix }: WindowTask,
  { offsetBytes, lengthBytes }: Extended,
  { compression, body, md5, storedMd5 }: PackedBody,
  number: number,
  store: ObjectStore,
  signal: AbortSignal,
): Promise<PutChunk> {
  const name = chunkName(prefix, number)
  await store.putObject({ container, name }, { bytes: body, md5: storedMd5 }, signal)
  const stored = { storedBytes: body.byteLength, storedMd5 }
  return { name, offsetBytes, lengthBytes, compression, md5, ...stored }
}

/** A whole window of zeros of a full backup: the same bytes each time, or nothing. */
async function storeZeros(
  task: WindowTask,
  bench: WindowBench,
  signal: AbortSignal,
): Promise<readonly PutChunk[]> {
  if (task.zeroChunks === 'sparse') return []
  const known = await zerosOf(task, bench.tools, signal)
  const isConstant = known.body.byteLength > 0
  if (isConstant) bench.free(known.body.byteLength)
  const body = isConstant ? known.body : bench.tools.buffers.plain(task.lengthBytes).fill(0)
  const first = await bench.numbers(1)
  signal.throwIfAborted()
  return [await putBody(task, task, { ...known, body }, first, bench.store, signal)]
}

/** The body of a zero window; empty where it is the zeros themselves. */
async function zerosOf(
  task: WindowTask,
  { zeroChunks, buffers, ...tools }: LaneTools,
  signal: AbortSignal,
): Promise<PackedBody> {
  const { lengthBytes, compression, effort } = task
  const key = `${compression} ${effort} ${lengthBytes}`
  const known = zeroChunks.get(key)
  if (known !== undefined) return known
  const plain = pageBuffer(lengthBytes) // Never written to: it takes no memory.
  const into = codecOf(compression) === 'none' ? Buffer.alloc(0) : buffers.stored(lengthBytes)
  const packed = await packExtent(plain, into, task, { zeroChunks, buffers, ...tools }, signal)
  return zeroChunks.set(key, packed)
}
