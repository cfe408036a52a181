import { hash } from 'node:crypto'

import { codecOf } from '../domain/compression.ts'
import { AgentError } from '../domain/errors.ts'
import { digestBytes, type Extent } from '../domain/extents.ts'
import type { ExpectedBlocks } from '../domain/lane-tasks.ts'
import type { StoredChunk } from '../domain/stored-chunk.ts'
import type { Accelerator } from '../ports/accelerator.ts'
import { digestBlocks, zeroDigest } from './block-digests.ts'

/** A chunk as it came, and the parts of it that are to be written. */
export type FetchedChunk = {
  readonly chunk: StoredChunk
  readonly pieces: readonly Extent[]
  readonly plain: Uint8Array
  readonly stored: Uint8Array
  readonly expected: ExpectedBlocks | null
}

/**
 * Throws CHUNK_CORRUPT unless what is to be written of a chunk is what the volume was. The SHA-256 of
 * its blocks decides where there is a sha256file: it covers the place as well as the bytes, in a quarter of
 * the time. Else the chunk's own md5 does: of the plain bytes or, as before Liberty, of the stored ones.
 */
export function verifyChunk(fetched: FetchedChunk, accelerator: Accelerator | null): void {
  const { chunk, plain, stored } = fetched
  const bad = firstBadExtent(fetched, accelerator)
  if (bad === null) return

  const md5 = hash('md5', plain)
  const isStoredDigest = codecOf(chunk.compression) !== 'none' && hash('md5', stored) === chunk.md5
  if (md5 !== chunk.md5 && !isStoredDigest) {
    throw new AgentError('CHUNK_CORRUPT', `its md5 is ${md5}, and should be ${chunk.md5}`)
  }
  if (bad === 'unknown') return
  throw new AgentError(
    'CHUNK_CORRUPT',
    `it is what the metadata says, but the sha256file says otherwise of ${bad.lengthBytes} bytes at ` +
      `offset ${bad.offsetBytes} of the volume: one of the two documents is damaged. If it is the ` +
      'sha256file, delete that object and restore again',
  )
}

/**
 * The first block that differs from what is expected; null where none does; `unknown` where there is
 * nothing to compare some of it with.
 */
function firstBadExtent(
  { chunk, pieces, plain, expected }: FetchedChunk,
  accelerator: Accelerator | null,
): Extent | 'unknown' | null {
  if (expected === null || !areCovered(pieces, expected)) return 'unknown'
  for (const piece of pieces) {
    const from = piece.offsetBytes - chunk.offsetBytes
    const bytes = plain.subarray(from, from + piece.lengthBytes)
    const bad = badBlock(bytes, piece, expected, accelerator)
    if (bad !== null) return bad
  }
  return null
}

/** The first block of a piece that differs from what is expected; null where none does. */
function badBlock(
  bytes: Uint8Array,
  piece: Extent,
  expected: ExpectedBlocks,
  accelerator: Accelerator | null,
): Extent | null {
  const { blockSizeBytes } = expected
  const found = Buffer.allocUnsafe(Math.ceil(piece.lengthBytes / blockSizeBytes) * digestBytes)
  digestBlocks(bytes, blockSizeBytes, found, accelerator)
  const wanted = digestsOf(piece, expected)
  if (found.equals(wanted)) return null
  const offset = firstDifference(found, wanted) * blockSizeBytes
  return {
    offsetBytes: piece.offsetBytes + offset,
    lengthBytes: Math.min(blockSizeBytes, piece.lengthBytes - offset),
  }
}

/**
 * Throws CHUNK_CORRUPT where bytes for this offset of the volume are not what the sha256file says; what it
 * says nothing of passes.
 */
export function checkBlocks(
  bytes: Uint8Array,
  offsetBytes: number,
  expected: ExpectedBlocks | null,
  accelerator: Accelerator | null,
): void {
  const piece = { offsetBytes, lengthBytes: bytes.byteLength }
  if (expected === null || !isCovered(piece, expected)) return
  const bad = badBlock(bytes, piece, expected, accelerator)
  if (bad === null) return
  throw new AgentError(
    'CHUNK_CORRUPT',
    `the sha256file says otherwise of ${bad.lengthBytes} bytes at offset ${bad.offsetBytes} of the volume`,
  )
}

/** Whether the sha256file can vouch for all of these extents. */
export function areCovered(pieces: readonly Extent[], expected: ExpectedBlocks | null): boolean {
  return expected !== null && pieces.every((piece) => isCovered(piece, expected))
}

/** Whether a piece is whole blocks whose digests are known; the last of a volume may be short. */
function isCovered(
  { offsetBytes, lengthBytes }: Extent,
  { blockSizeBytes, firstBlock, digests, endBytes }: ExpectedBlocks,
): boolean {
  const end = offsetBytes + lengthBytes
  const isWhole = end % blockSizeBytes === 0 || end === endBytes
  const knownBlocks = firstBlock + digests.byteLength / digestBytes
  return (
    offsetBytes % blockSizeBytes === 0 &&
    isWhole &&
    offsetBytes >= firstBlock * blockSizeBytes &&
    Math.ceil(end / blockSizeBytes) <= knownBlocks
  )
}

function digestsOf(
  { offsetBytes, lengthBytes }: Extent,
  { blockSizeBytes, firstBlock, digests }: ExpectedBlocks,
): Uint8Array {
  const from = (offsetBytes / blockSizeBytes - firstBlock) * digestBytes
  return digests.subarray(from, from + Math.ceil(lengthBytes / blockSizeBytes) * digestBytes)
}

function firstDifference(found: Uint8Array, wanted: Uint8Array): number {
  return Math.floor(found.findIndex((byte, index) => byte !== wanted[index]) / digestBytes)
}

/** Whether zeros are what is expected of these extents, as far as that is known. */
export function mayBeZeros(pieces: readonly Extent[], expected: ExpectedBlocks | null): boolean {
  if (expected === null) return true
  return pieces.every((piece) => {
    if (!isCovered(piece, expected)) return true
    const wanted = digestsOf(piece, expected)
    const { blockSizeBytes } = expected
    const rest = piece.lengthBytes % blockSizeBytes
    for (let at = 0; at < wanted.byteLength; at += digestBytes) {
      const isLast = at + digestBytes === wanted.byteLength
      const zero = zeroDigest(isLast && rest > 0 ? rest : blockSizeBytes)
      if (Buffer.compare(wanted.subarray(at, at + digestBytes), zero) !== 0) return false
    }
    return true
  })
}
