import { createHash, hash } from 'node:crypto'

import { digestBytes } from '../domain/extents.ts'
import { breathe } from '../lib/event-loop.ts'

const stepBytes = 4_194_304 // A few milliseconds of work between two looks at everything else.

export type Fingerprint = {
  /** One SHA-256 for each block, packed. */
  readonly digests: Uint8Array
  /** Whether there is nothing but zeros. */
  readonly isZero: boolean
}

/** The digests of `data` in blocks of `blockBytes`, the last of which may be short. */
export async function fingerprint(
  data: Uint8Array,
  blockBytes: number,
  signal: AbortSignal,
): Promise<Fingerprint> {
  const digests = Buffer.allocUnsafe(Math.ceil(data.byteLength / blockBytes) * digestBytes)
  const zeroDigest = sha256(new Uint8Array(blockBytes))
  let isZero = true
  let bytesSinceBreath = 0
  for (let start = 0, to = 0; start < data.byteLength; start += blockBytes, to += digestBytes) {
    const block = data.subarray(start, start + blockBytes)
    const isZeroBlock = isZeros(block)
    isZero &&= isZeroBlock
    const isConstant = isZeroBlock && block.byteLength === blockBytes
    digests.set(isConstant ? zeroDigest : sha256(block), to)
    bytesSinceBreath += block.byteLength
    if (bytesSinceBreath >= stepBytes) {
      bytesSinceBreath = 0
      await breathe()
      signal.throwIfAborted()
    }
  }
  return { digests, isZero }
}

function sha256(block: Uint8Array): Uint8Array {
  return hash('sha256', block, 'buffer')
}

/** The md5 of `data` in hex. */
export async function md5Of(data: Uint8Array, signal: AbortSignal): Promise<string> {
  const md5 = createHash('md5')
  for (let start = 0; start < data.byteLength; start += stepBytes) {
    md5.update(data.subarray(start, start + stepBytes))
    if (start + stepBytes < data.byteLength) await breathe()
    signal.throwIfAborted()
  }
  return md5.digest('hex')
}

/** Nothing but zeros, to compare with and to write. Never written to. */
export const zeros: Uint8Array = Buffer.alloc(1_048_576)

export function isZeros(data: Uint8Array): boolean {
  for (let start = 0; start < data.byteLength; start += zeros.byteLength) {
    const piece = data.subarray(start, start + zeros.byteLength)
    if (Buffer.compare(piece, zeros.subarray(0, piece.byteLength)) !== 0) return false
  }
  return true
}
