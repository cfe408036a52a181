import type { BackupPlan } from '../domain/backup-plan.ts'
import { codecOf } from '../domain/compression.ts'
import { AgentError } from '../domain/errors.ts'
import { changedExtents, digestBytes, type Extent } from '../domain/extents.ts'
import { chunkName } from '../domain/object-names.ts'
import type { StoredChunk } from '../domain/stored-chunk.ts'
import { type ByteBudget, byteBudget, type Reservation, shareOf } from '../lib/byte-budget.ts'
import { mapOrdered } from '../lib/map-ordered.ts'
import type { ObjectStore, StreamedBody } from '../ports/object-store.ts'
import type { SpoolFile } from '../ports/spool.ts'
import type { VolumeReader } from '../ports/volumes.ts'
import { type CompressedChunk, compress, openDecoder } from './codecs.ts'
import { fingerprint, md5Of } from './fingerprint.ts'

/** The packed digests of a volume, in order. A volume of 1 TiB has 33 million: nobody holds them all. */
export type Digests = {
  /** The parent's; null for a full backup. */
  readonly parent: SpoolFile | null
  /** Takes this backup's own. */
  readonly own: SpoolFile
}

/** A window of the volume is done: everything before `endBytes` is stored. */
export type WindowDone = { readonly endBytes: number; readonly chunks: readonly StoredChunk[] }

const requestsMax = 32

/**
 * Reads the volume once and uploads what the parent lacks, whole windows of `plan.chunkSizeBytes` for
 * a full backup. Yields in volume order. Memory is bounded by `budget` and by `plan.uploadsMax`
 * chunks, whatever the size of the volume; after it ends, nothing that it started still runs.
 *
 * Rejects with the first failure of the volume, the store, the spool or the codec, or with the
 * signal's reason; the objects stored by then stay.
 */
export function backupVolume(
  volume: VolumeReader,
  store: ObjectStore,
  plan: BackupPlan,
  digests: Digests,
  budget: ByteBudget,
  signal: AbortSignal,
): AsyncGenerator<WindowDone, void, undefined> {
  const run: BackupRun = {
    volume,
    plan,
    digests,
    room: shareOf(budget, plan.uploadsMax * plan.chunkSizeBytes),
    upload: uploader(store, plan),
    zeroChunks: new Map(),
    chunkCount: 0,
  }
  const windows = windowsOf(volume.sizeBytes, plan.chunkSizeBytes)
  return mapOrdered(windows, requestsMax, signal, (window, stop) => backupWindow(run, window, stop))
}

type BackupRun = {
  readonly volume: VolumeReader
  readonly plan: BackupPlan
  readonly digests: Digests
  readonly room: ByteBudget
  readonly upload: Upload
  /** The all-zero chunk of each length, compressed once. */
  readonly zeroChunks: Map<number, Promise<ReadyChunk>>
  chunkCount: number
}

type Window = Extent & {
  /** Settles when the windows before have their digests and names. */
  readonly turn: Promise<void>
  readonly endTurn: () => void
}

function* windowsOf(sizeBytes: number, chunkSizeBytes: number): Generator<Window> {
  let turn = Promise.resolve()
  for (let offsetBytes = 0; offsetBytes < sizeBytes; offsetBytes += chunkSizeBytes) {
    const { promise, resolve: endTurn } = Promise.withResolvers<void>()
    const lengthBytes = Math.min(chunkSizeBytes, sizeBytes - offsetBytes)
    yield { offsetBytes, lengthBytes, turn, endTurn }
    turn = promise
  }
}

/** A part of a window that is to be stored under `name`. */
type Part = { readonly name: string; readonly offsetBytes: number; readonly plain: Uint8Array }

async function backupWindow(
  run: BackupRun,
  window: Window,
  signal: AbortSignal,
): Promise<WindowDone> {
  const { plan, volume } = run
  const { offsetBytes, lengthBytes } = window
  const endBytes = offsetBytes + lengthBytes
  try {
    // What comes out of a codec may be as large as what went in.
    const factor = codecOf(plan.compression) === 'none' ? 1 : 2
    const bufferBytes = Math.min(plan.chunkSizeBytes, volume.sizeBytes)
    using room = await run.room.take(bufferBytes * factor, signal)
    const plain = room.buffer(bufferBytes).subarray(0, lengthBytes)
    await volume.read(offsetBytes, plain)
    signal.throwIfAborted()
    const print = await fingerprint(plain, plan.blockSizeBytes, signal)

    await window.turn
    signal.throwIfAborted()
    const isFull = run.digests.parent === null
    await run.digests.own.append(print.digests)
    if (isFull && print.isZero && plan.zeroChunks === 'sparse') return { endBytes, chunks: [] }
    const extents = isFull
      ? [{ offsetBytes: 0, lengthBytes }]
      : await changedIn(run, print.digests, window)
    const parts = extents.map((extent) => partOf(run, window, plain, extent))
    window.endTurn()

    const chunks =
      isFull && print.isZero
        ? [await storeZeros(run, parts[0], room, signal)]
        : await storeParts(run, moveOut(parts, lengthBytes, factor, room), signal)
    return { endBytes, chunks }
  } finally {
    window.endTurn()
  }
}

async function changedIn(
  { digests, plan }: BackupRun,
  current: Uint8Array,
  { offsetBytes, lengthBytes }: Extent,
): Promise<Extent[]> {
  const parent = Buffer.alloc(current.byteLength)
  const at = (offsetBytes / plan.blockSizeBytes) * digestBytes
  const bytes = (await digests.parent?.read(at, parent)) ?? 0
  const known = parent.subarray(0, bytes)
  return [...changedExtents(current, known, plan.blockSizeBytes, lengthBytes)]
}

function partOf(
  run: BackupRun,
  window: Extent,
  plain: Uint8Array,
  { offsetBytes, lengthBytes }: Extent,
): Part {
  run.chunkCount += 1
  return {
    name: chunkName(run.plan.prefix, run.chunkCount),
    offsetBytes: window.offsetBytes + offsetBytes,
    plain: plain.subarray(offsetBytes, offsetBytes + lengthBytes),
  }
}

/** Moves the little that changed out of the window, so that the next one can be read meanwhile. */
function moveOut(
  parts: readonly Part[],
  windowBytes: number,
  factor: number,
  room: Reservation,
): readonly Part[] {
  const bytes = parts.reduce((sum, { plain }) => sum + plain.byteLength, 0)
  if (bytes > windowBytes / 8) return parts
  const moved = parts.map((part) => ({ ...part, plain: Buffer.from(part.plain) }))
  room.shrink(bytes * factor)
  return moved
}

async function storeParts(
  { plan, upload }: BackupRun,
  parts: readonly Part[],
  signal: AbortSignal,
): Promise<StoredChunk[]> {
  const stored = mapOrdered(parts, requestsMax, signal, (part, stop) =>
    upload(part, part.plain.byteLength, () => readyChunk(part.plain, plan, stop), stop),
  )
  return Array.fromAsync(stored)
}

/** Every all-zero window of a full backup is stored as the same bytes. */
async function storeZeros(
  { plan, upload, zeroChunks }: BackupRun,
  part: Part | undefined,
  room: Reservation,
  signal: AbortSignal,
): Promise<StoredChunk> {
  if (part === undefined) throw new AgentError('ASSERTION_FAILED', 'a full window has no part')
  const lengthBytes = part.plain.byteLength
  let zeroChunk = zeroChunks.get(lengthBytes)
  if (zeroChunk === undefined) {
    zeroChunk = readyChunk(part.plain, plan, signal).then(withoutPlainBody)
    zeroChunks.set(lengthBytes, zeroChunk)
  }
  const ready = await zeroChunk
  if (ready.compression === 'none') {
    return upload(part, lengthBytes, async () => ({ ...ready, pieces: [part.plain] }), signal)
  }
  room.shrink(ready.sizeBytes)
  return upload(part, ready.sizeBytes, async () => ready, signal)
}

/** A plain body is a lent buffer that will soon be another's. */
function withoutPlainBody(chunk: ReadyChunk): ReadyChunk {
  return chunk.compression === 'none' ? { ...chunk, pieces: [] } : chunk
}

type ReadyChunk = CompressedChunk & { readonly md5: string }

/** Compresses a chunk and, where the plan says so, makes sure that it can be read again. */
async function readyChunk(
  plain: Uint8Array,
  { compression, verifiesUpload }: BackupPlan,
  signal: AbortSignal,
): Promise<ReadyChunk> {
  const md5 = await md5Of(plain, signal)
  const compressed = await compress(plain, compression, signal)
  if (verifiesUpload && compressed.compression !== 'none') {
    await verify(compressed, plain, signal)
  }
  return { ...compressed, md5 }
}

async function verify(
  { compression, pieces }: CompressedChunk,
  plain: Uint8Array,
  signal: AbortSignal,
): Promise<void> {
  let at = 0
  const compare = (piece: Uint8Array) => {
    const wanted = plain.subarray(at, at + piece.byteLength)
    at += piece.byteLength
    if (Buffer.compare(piece, wanted) === 0) return
    throw new AgentError('CHUNK_CORRUPT', `what ${compression} made cannot be read again as it was`)
  }
  await using decoder = await openDecoder(compression, plain.byteLength, compare, signal)
  for (const piece of pieces) await decoder.write(piece)
  await decoder.end()
}

/** Sends what `prepare` gives; `weightBytes` is how much it counts towards `uploadsMax`. */
type Upload = (
  part: Part,
  weightBytes: number,
  prepare: () => Promise<ReadyChunk>,
  signal: AbortSignal,
) => Promise<StoredChunk>

function uploader(store: ObjectStore, plan: BackupPlan): Upload {
  const bytesMax = plan.uploadsMax * plan.chunkSizeBytes
  const slots = byteBudget(bytesMax)
  return async ({ name, offsetBytes, plain }, weightBytes, prepare, signal) => {
    const lengthBytes = plain.byteLength
    using _slot = await slots.take(Math.max(weightBytes, bytesMax / requestsMax), signal)
    const ready = await prepare()
    await store.putObject({ container: plan.container, name }, bodyOf(ready), signal)
    return { name, offsetBytes, lengthBytes, compression: ready.compression, md5: ready.md5 }
  }
}

function bodyOf({ pieces, sizeBytes }: CompressedChunk): Uint8Array | StreamedBody {
  const [first = new Uint8Array(0)] = pieces
  if (pieces.length <= 1) return first
  return {
    sizeBytes,
    async *open() {
      yield* pieces
    },
  }
}
