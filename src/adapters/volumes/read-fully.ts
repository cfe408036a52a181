import type { FileHandle } from 'node:fs/promises'

import { AgentError } from '../../domain/errors.ts'
import { monotonicMs } from '../../lib/clock.ts'

export type BadRange = { readonly offsetBytes: number; readonly lengthBytes: number }

type Readable = Pick<FileHandle, 'read'>

const sectorBytes = 512 // The smallest block that a block device of Linux has.
const readBytesMax = 1024 * 1024 * 1024 // One read(2) gives less than 2 GiB.

const searchMsMax = 30_000 // A disk that is dead from end to end would keep us for days.

/**
 * Fills `into` from `offsetBytes` on. Where the device cannot read a part of that, smaller reads
 * find out exactly which, and if all of them succeed the data is good. Rejects with
 * VOLUME_READ_FAILED, `badRanges` in its context, with VOLUME_CHANGED where the device ends early,
 * and with the signal's reason when it aborts a search.
 */
export async function readFully(
  file: Readable,
  path: string,
  offsetBytes: number,
  into: Uint8Array,
  signal: AbortSignal,
): Promise<void> {
  try {
    await readExactly(file, path, offsetBytes, into)
  } catch (error) {
    if (!isMediumError(error)) throw readFailed(path, offsetBytes, into.byteLength, error)
    const { ranges, isComplete } = await findBadRanges(file, path, offsetBytes, into, signal)
    const [first] = ranges
    if (first === undefined && isComplete) return // It was a passing error: the bytes are there.
    const count = `${isComplete ? '' : 'at least '}${ranges.length}`
    throw new AgentError(
      'VOLUME_READ_FAILED',
      `reading ${path} failed with an input/output error in ${count} range(s), the first of ` +
        `${first?.lengthBytes ?? into.byteLength} bytes at offset ` +
        `${first?.offsetBytes ?? offsetBytes}: check the disk (dmesg, smartctl), then back up again`,
      { path, offsetBytes, lengthBytes: into.byteLength, badRanges: ranges },
      error,
    )
  }
}

async function readExactly(file: Readable, path: string, offsetBytes: number, into: Uint8Array) {
  for (let filled = 0; filled < into.byteLength; ) {
    const wanted = Math.min(into.byteLength - filled, readBytesMax)
    const { bytesRead } = await file.read(into, filled, wanted, offsetBytes + filled)
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
  file: Readable,
  path: string,
  offsetBytes: number,
  into: Uint8Array,
  signal: AbortSignal,
): Promise<{ ranges: BadRange[]; isComplete: boolean }> {
  const ranges: BadRange[] = []
  const pending: BadRange[] = [{ offsetBytes, lengthBytes: into.byteLength }]
  const deadlineMs = monotonicMs() + searchMsMax
  for (let range = pending.pop(); range !== undefined; range = pending.pop()) {
    signal.throwIfAborted()
    if (monotonicMs() > deadlineMs) return { ranges, isComplete: false }
    const start = range.offsetBytes - offsetBytes
    try {
      const part = into.subarray(start, start + range.lengthBytes)
      await readExactly(file, path, range.offsetBytes, part)
    } catch (error) {
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

/** The two halves of a range, cut at a sector's start, the later first; null for one sector. */
function halve({ offsetBytes, lengthBytes }: BadRange): [BadRange, BadRange] | null {
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
function addRange(ranges: BadRange[], range: BadRange): void {
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
  const { code, message } = error as NodeJS.ErrnoException
  const isGone = code === 'ENXIO' || code === 'ENODEV'
  return new AgentError(
    'VOLUME_READ_FAILED',
    `reading ${lengthBytes} bytes at offset ${offsetBytes} of ${path} failed: ` +
      (isGone ? 'the device is gone' : message),
    { path, offsetBytes, lengthBytes, badRanges: [{ offsetBytes, lengthBytes }] },
    error,
  )
}
