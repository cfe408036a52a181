import { hash } from 'node:crypto'

import { digestBytes } from '../domain/extents.ts'
import type { Accelerator } from '../ports/accelerator.ts'

/** Nothing but zeros, to compare with and to write. Never written to. */
export const zeros: Uint8Array = Buffer.alloc(1_048_576)

/** Whether there is nothing but zeros. */
export function isZeros(data: Uint8Array, accelerator: Accelerator | null = null): boolean {
  if (accelerator !== null) return accelerator.isZero(data)
  for (let start = 0; start < data.byteLength; start += zeros.byteLength) {
    const piece = data.subarray(start, start + zeros.byteLength)
    if (Buffer.compare(piece, zeros.subarray(0, piece.byteLength)) !== 0) return false
  }
  return true
}

const zeroDigests = new Map<number, Uint8Array>()

/** The digest of a block of zeros. */
export function zeroDigest(blockBytes: number): Uint8Array {
  let digest = zeroDigests.get(blockBytes)
  if (digest === undefined) {
    digest = hash('sha256', new Uint8Array(blockBytes), 'buffer')
    zeroDigests.set(blockBytes, digest)
  }
  return digest
}

/**
 * Writes the SHA-256 of each block of `data` (the last may be short) to `into`, and returns how many
 * of the blocks are all zeros.
 */
export function digestBlocks(
  data: Uint8Array,
  blockBytes: number,
  into: Uint8Array,
  accelerator: Accelerator | null,
): number {
  if (accelerator !== null) return accelerator.sha256Blocks(data, blockBytes, into)
  let zeroCount = 0
  for (let start = 0, to = 0; start < data.byteLength; start += blockBytes, to += digestBytes) {
    const block = data.subarray(start, start + blockBytes)
    const isZero = isZeros(block)
    if (isZero) zeroCount += 1
    into.set(isZero ? zeroDigest(block.byteLength) : hash('sha256', block, 'buffer'), to)
  }
  return zeroCount
}

/** Writes the digests of `lengthBytes` of zeros. */
export function digestZeros(lengthBytes: number, blockBytes: number, into: Uint8Array): void {
  const whole = Math.floor(lengthBytes / blockBytes)
  const digest = zeroDigest(blockBytes)
  for (let block = 0; block < whole; block += 1) into.set(digest, block * digestBytes)
  const rest = lengthBytes - whole * blockBytes
  if (rest > 0) into.set(zeroDigest(rest), whole * digestBytes)
}
