import { changedExtents, digestBytes, type Extent } from '../domain/extents.ts'
import type { WindowTask } from '../domain/lane-tasks.ts'
import { breathe } from '../lib/event-loop.ts'
import type { VolumeReader } from '../ports/volumes.ts'
import { digestBlocks, digestZeros } from './block-digests.ts'
import type { LaneTools } from './lane-tools.ts'

/** What fits the nearest caches: read, digested and compared while it is there. */
const sliceBytesWanted = 1_048_576
const slicesPerBreath = 8

/** A run of bytes that must be stored; `plain` is a view of the lane's buffer. */
export type GatheredExtent = { readonly offsetBytes: number; readonly plain: Uint8Array }

export type WindowScan = {
  /** Packed, of every block of the window. */
  readonly digests: Uint8Array
  readonly isZero: boolean
  /** The whole window of a full backup (none where it is all zeros), else the runs of changed blocks. */
  readonly extents: readonly GatheredExtent[]
}

type Scanned = Pick<WindowTask, 'offsetBytes' | 'lengthBytes' | 'blockSizeBytes' | 'parentDigests'>

/**
 * Reads a window once, in slices: digests every block, and keeps in the lane's buffer what must be
 * stored. Holes are not read. Rejects with what the volume rejects with, or the signal's reason.
 */
export async function scanWindow(
  volume: VolumeReader,
  task: Scanned,
  tools: LaneTools,
  signal: AbortSignal,
): Promise<WindowScan> {
  const { lengthBytes, blockSizeBytes, parentDigests } = task
  const digests = new Uint8Array(Math.ceil(lengthBytes / blockSizeBytes) * digestBytes)
  const buffer = tools.buffers.plain(lengthBytes)
  const gathering =
    parentDigests === null ? whole(task, buffer, tools) : changes(task, buffer, parentDigests)
  const sliceBytes = blockSizeBytes * Math.max(1, Math.floor(sliceBytesWanted / blockSizeBytes))
  let isZero = true
  let slices = 0

  for (let at = 0; at < lengthBytes; at += sliceBytes) {
    const slice = { offsetBytes: at, lengthBytes: Math.min(sliceBytes, lengthBytes - at) }
    const firstDigest = (at / blockSizeBytes) * digestBytes
    const digestsEnd = firstDigest + Math.ceil(slice.lengthBytes / blockSizeBytes) * digestBytes
    const own = digests.subarray(firstDigest, digestsEnd)
    const into = buffer.subarray(gathering.position(slice)).subarray(0, slice.lengthBytes)
    const isZeroSlice = await readSlice(volume, task, slice, into, own, tools)
    gathering.keep(slice, own, isZeroSlice)
    isZero &&= isZeroSlice
    slices += 1
    if (slices % slicesPerBreath === 0) await breathe()
    signal.throwIfAborted()
  }
  return { digests, isZero, extents: gathering.extents() }
}

/** Digests a slice, reading it to `into`; resolves to whether it is all zeros: then they may not be there. */
async function readSlice(
  volume: VolumeReader,
  { offsetBytes, blockSizeBytes }: Scanned,
  slice: Extent,
  into: Uint8Array,
  digests: Uint8Array,
  { accelerator }: LaneTools,
): Promise<boolean> {
  const start = offsetBytes + slice.offsetBytes
  const run = volume.dataRun(start)
  if (run === null || run.start >= start + slice.lengthBytes) {
    digestZeros(slice.lengthBytes, blockSizeBytes, digests)
    return true
  }
  await volume.read(start, into)
  const zeroCount = digestBlocks(into, blockSizeBytes, digests, accelerator)
  return zeroCount * digestBytes === digests.byteLength
}

/** Decides where in the buffer a slice is read to, and what of it stays there. */
type Gathering = {
  readonly position: (slice: Extent) => number
  readonly keep: (slice: Extent, digests: Uint8Array, isZero: boolean) => void
  readonly extents: () => readonly GatheredExtent[]
}

/** Everything, unless it is all zeros: those before the first other byte are written only then. */
function whole({ offsetBytes }: Scanned, buffer: Buffer, { accelerator }: LaneTools): Gathering {
  let isZero = true

  function clear(start: number, end: number): void {
    if (accelerator === null) buffer.fill(0, start, end)
    else accelerator.giveBack(buffer.subarray(start, end))
  }

  return {
    position: (slice) => slice.offsetBytes,
    keep(slice, _digests, isZeroSlice) {
      if (isZero && isZeroSlice) return
      if (isZero) clear(0, slice.offsetBytes)
      isZero = false
      if (isZeroSlice) clear(slice.offsetBytes, slice.offsetBytes + slice.lengthBytes)
    },
    extents: () => (isZero ? [] : [{ offsetBytes, plain: buffer }]),
  }
}

/** The blocks that the parent lacks, put together at the start of the buffer; a slice is read right behind them. */
function changes(
  { offsetBytes, blockSizeBytes }: Scanned,
  buffer: Buffer,
  parentDigests: Uint8Array,
): Gathering {
  const kept: { offsetBytes: number; lengthBytes: number; at: number }[] = []
  let bytes = 0

  function add(start: number, lengthBytes: number): void {
    const last = kept.at(-1)
    if (last !== undefined && last.offsetBytes + last.lengthBytes === start) {
      last.lengthBytes += lengthBytes
    } else {
      kept.push({ offsetBytes: start, lengthBytes, at: bytes })
    }
    bytes += lengthBytes
  }

  return {
    position: () => bytes,
    keep(slice, digests, isZero) {
      const sliceAt = bytes
      const first = (slice.offsetBytes / blockSizeBytes) * digestBytes
      const known = parentDigests.subarray(first, first + digests.byteLength)
      for (const extent of changedExtents(digests, known, blockSizeBytes, slice.lengthBytes)) {
        const from = sliceAt + extent.offsetBytes
        if (isZero) buffer.fill(0, bytes, bytes + extent.lengthBytes)
        else if (from !== bytes) buffer.copyWithin(bytes, from, from + extent.lengthBytes)
        add(slice.offsetBytes + extent.offsetBytes, extent.lengthBytes)
      }
    },
    extents: () =>
      kept.map(({ offsetBytes: start, lengthBytes, at }) => ({
        offsetBytes: offsetBytes + start,
        plain: buffer.subarray(at, at + lengthBytes),
      })),
  }
}
