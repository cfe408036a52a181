import { AgentError } from '../../domain/errors.ts'
import type { Extent } from '../../domain/extents.ts'
import { monotonicMs } from '../../lib/clock.ts'
import { breathe } from '../../lib/event-loop.ts'
import { pageBuffer, pageBytes, startsOnPage } from '../../lib/page-buffer.ts'
import { deviceTrouble, persist, type Readable } from './device-file.ts'

/** A device that is read, by the two ways that lead to it. */
export type Source = {
  readonly path: string
  /** Through the page cache: takes any offset, length and memory. */
  readonly cached: Readable
  /** With O_DIRECT, or null. */
  readonly direct: Readable | null
}

const sectorBytes = 512 // The smallest block that a block device of Linux has.
const readBytesMax = 1024 * 1024 * 1024 // One read(2) gives less than 2 GiB.

const searchMsMax = 30_000 // A disk that is dead from end to end would keep us for days.
const breathMs = 50

/**
 * Fills `into` from `offsetBytes` on, past the page cache where that is possible. Where the device
 * cannot read a part of that, smaller reads find out exactly which, and if all of them succeed the
 * data is good. Rejects with VOLUME_READ_FAILED, `badRanges` in its context, with VOLUME_CHANGED where
 * the device ends early, and with the signal's reason when it aborts a search.
 */
export async function readFully(
  source: Source,
  offsetBytes: number,
  into: Uint8Array,
  signal: AbortSignal,
): Promise<void> {
  const { path } = source
  try {
    const done = await readPages(source, offsetBytes, into, signal)
    await readExactly(source, offsetBytes + done, into.subarray(done), signal)
  } catch (error) {
    signal.throwIfAborted()
    if (!isMediumError(error)) throw readFailed(path, offsetBytes, into.byteLength, error)
    const { ranges, isComplete } = await findBadRanges(source, offsetBytes, into, signal)
    if (ranges.length === 0 && isComplete) return // It was a passing error: the bytes are there.
    throw new AgentError(
      'VOLUME_READ_FAILED',
      `reading ${path} failed with an input/output error in ${rangesText(ranges, isComplete)}: ` +
        'check the disk (dmesg, smartctl), then back up again',
      { path, offsetBytes, lengthBytes: into.byteLength, badRanges: ranges },
      error,
    )
  }
}

const rangesNamedMax = 8

function rangesText(ranges: readonly Extent[], isComplete: boolean): string {
  const named = ranges
    .slice(0, rangesNamedMax)
    .map(({ offsetBytes, lengthBytes }) => `${lengthBytes} bytes at offset ${offsetBytes}`)
  if (ranges.length > rangesNamedMax) named.push('…')
  return `${isComplete ? '' : 'at least '}${ranges.length} range(s) (${named.join(', ')})`
}

/** The whole pages of it with O_DIRECT, as far as that goes: resolves to the bytes that are there. */
async function readPages(
  { direct }: Source,
  offsetBytes: number,
  into: Uint8Array,
  signal: AbortSignal,
): Promise<number> {
  if (direct === null || offsetBytes % pageBytes !== 0 || !startsOnPage(into)) return 0
  const wanted = into.byteLength - (into.byteLength % pageBytes)
  let filled = 0
  while (filled < wanted && filled % pageBytes === 0) {
    const length = Math.min(wanted - filled, readBytesMax)
    const bytesRead = await readAligned(direct, into, filled, length, offsetBytes + filled, signal)
    if (bytesRead === 0) break
    filled += bytesRead
  }
  return filled
}

/** 0 at the device's end, and where it wants another alignment after all. */
async function readAligned(
  direct: Readable,
  into: Uint8Array,
  start: number,
  length: number,
  position: number,
  signal: AbortSignal,
): Promise<number> {
  try {
    return (await persist(() => direct.read(into, start, length, position), signal)).bytesRead
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EINVAL') return 0
    throw error
  }
}

async function readExactly(
  { path, cached }: Source,
  offsetBytes: number,
  into: Uint8Array,
  signal: AbortSignal,
): Promise<void> {
  for (let filled = 0; filled < into.byteLength; ) {
    const wanted = Math.min(into.byteLength - filled, readBytesMax)
    const reading = () => cached.read(into, filled, wanted, offsetBytes + filled)
    const { bytesRead } = await persist(reading, signal)
    if (bytesRead === 0) {
      throw new AgentError(
        'VOLUME_CHANGED',
        `${path} ended at byte ${offsetBytes + filled} while it was read: it has shrunk since it ` +
          'was opened; start anew',
        { path, offsetBytes, lengthBytes: into.byteLength },
      )
    }
    filled += bytesRead
  }
}

/** Halves what fails until a sector is left; good parts land in `into`. */
async function findBadRanges(
  source: Source,
  offsetBytes: number,
  into: Uint8Array,
  signal: AbortSignal,
): Promise<{ ranges: Extent[]; isComplete: boolean }> {
  const { path } = source
  const ranges: Extent[] = []
  const pending: Extent[] = [{ offsetBytes, lengthBytes: into.byteLength }]
  const page = pageBuffer(pageBytes)
  const deadlineMs = monotonicMs() + searchMsMax
  let breathAtMs = monotonicMs() + breathMs
  for (let range = pending.pop(); range !== undefined; range = pending.pop()) {
    if (monotonicMs() > breathAtMs) {
      await breathe() // A lane hears of an abort only then.
      breathAtMs = monotonicMs() + breathMs
    }
    signal.throwIfAborted()
    if (monotonicMs() > deadlineMs) return { ranges, isComplete: false }
    const start = range.offsetBytes - offsetBytes
    try {
      const part = into.subarray(start, start + range.lengthBytes)
      if (await readSectors(source, range.offsetBytes, part, page, signal)) continue
      await readExactly(source, range.offsetBytes, part, signal)
    } catch (error) {
      signal.throwIfAborted()
      if (!isMediumError(error)) {
        throw readFailed(path, range.offsetBytes, range.lengthBytes, error)
      }
      const halves = halve(range)
      if (halves === null) addRange(ranges, range)
      else pending.push(...halves)
    }
  }
  return { ranges, isComplete: true }
}

/**
 * Parts of a page with O_DIRECT: the page cache reads whole pages, and would call all of its sectors
 * bad for one. False where that does not apply.
 */
async function readSectors(
  { direct }: Source,
  offsetBytes: number,
  into: Uint8Array,
  page: Uint8Array,
  signal: AbortSignal,
): Promise<boolean> {
  const length = into.byteLength
  if (direct === null || length >= pageBytes) return false
  if (offsetBytes % sectorBytes !== 0 || length % sectorBytes !== 0) return false
  if ((await readAligned(direct, page, 0, length, offsetBytes, signal)) < length) return false
  into.set(page.subarray(0, length))
  return true
}

/** The two halves of a range, cut at a sector's start, the later first; null for one sector. */
function halve({ offsetBytes, lengthBytes }: Extent): [Extent, Extent] | null {
  const end = offsetBytes + lengthBytes
  let middle = Math.floor((offsetBytes + lengthBytes / 2) / sectorBytes) * sectorBytes
  if (middle <= offsetBytes) middle += sectorBytes
  if (middle >= end) return null
  return [
    { offsetBytes: middle, lengthBytes: end - middle },
    { offsetBytes, lengthBytes: middle - offsetBytes },
  ]
}

/** Found in order, so that a neighbour can only be the last one. */
function addRange(ranges: Extent[], range: Extent): void {
  const last = ranges.at(-1)
  if (last !== undefined && last.offsetBytes + last.lengthBytes === range.offsetBytes) {
    ranges[ranges.length - 1] = {
      offsetBytes: last.offsetBytes,
      lengthBytes: last.lengthBytes + range.lengthBytes,
    }
  } else ranges.push(range)
}

/** What a disk says of a part of itself. Source: block/blk-core.c, blk_errors. */
function isMediumError(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException
  return code === 'EIO' || code === 'ENODATA' || code === 'EILSEQ'
}

function readFailed(path: string, offsetBytes: number, lengthBytes: number, error: unknown) {
  if (error instanceof AgentError) return error
  return new AgentError(
    'VOLUME_READ_FAILED',
    `reading ${lengthBytes} bytes at offset ${offsetBytes} of ${path} failed: ${deviceTrouble(error)}`,
    { path, offsetBytes, lengthBytes, badRanges: [{ offsetBytes, lengthBytes }] },
    error,
  )
}
