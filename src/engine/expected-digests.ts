import { AgentError } from '../domain/errors.ts'
import { digestBytes, type Extent } from '../domain/extents.ts'
import type { ExpectedBlocks } from '../domain/lane-tasks.ts'
import { endOfChain, type RestoreLink } from '../domain/restore-plan.ts'
import type { StoredChunk } from '../domain/stored-chunk.ts'
import type { SpoolFile } from '../ports/spool.ts'
import { mayBeZeros } from './verify-chunk.ts'

// The sha256file of the backup that is restored is a second witness of what its metadata says: where the
// two disagree one of them is damaged, and nobody can tell which.

/** The digests of what the volume shall be, from the sha256file of the backup that is restored. */
export type ExpectedDigests = { readonly blockSizeBytes: number; readonly digests: SpoolFile }

const countOf = ({ digests }: ExpectedDigests) => digests.sizeBytes / digestBytes

function disagree(what: string, extent: Extent): AgentError {
  return new AgentError(
    'MANIFEST_INVALID',
    `the metadata and the sha256file disagree: ${what}, so one of the two is damaged. If it is the ` +
      'sha256file, delete that object and restore again',
    { ...extent },
  )
}

/**
 * Throws MANIFEST_INVALID where the chain does not reach as far as the digests do, or its last backup
 * further. A parent may: the volume may have been smaller since.
 */
export function checkReach(links: readonly RestoreLink[], expected: ExpectedDigests | null): void {
  if (expected === null) return
  const { blockSizeBytes } = expected
  const count = countOf(expected)
  const blocksIn = (bytes: number) => Math.ceil(bytes / blockSizeBytes)
  const chainBytes = endOfChain(links)
  const lastBytes = links.at(-1)?.endBytes ?? 0
  if (blocksIn(lastBytes) <= count && count <= blocksIn(chainBytes)) return
  const what = `one ends at ${Math.max(chainBytes, lastBytes)} bytes, the other has ${count} digests of ${blockSizeBytes}`
  throw disagree(what, { offsetBytes: 0, lengthBytes: chainBytes })
}

/**
 * The links with chunks that lie on blocks; another one is refused as soon as it is come to, before
 * anything beside it is restored: what is no whole block no digest vouches for. A full backup without
 * gaps tells its offsets twice, for they follow from the lengths.
 */
export function onBlocks(
  links: readonly RestoreLink[],
  expected: ExpectedDigests | null,
): readonly RestoreLink[] {
  if (expected === null) return links
  const known = expected
  const isWhole = (bytes: number) => bytes % known.blockSizeBytes === 0

  async function* checked({ chunks, endBytes, zeroFilledBytes }: RestoreLink) {
    for await (const chunk of chunks()) {
      const end = chunk.offsetBytes + chunk.lengthBytes
      const isBeforeZeros = zeroFilledBytes > 0 && end !== endBytes
      if (!isWhole(chunk.offsetBytes) || (isBeforeZeros && !isWhole(end))) {
        throw noBlocks(chunk, chunk, known)
      }
      yield chunk
    }
  }
  const hasGaps = ({ parentId, zeroFilledBytes }: RestoreLink) =>
    parentId !== null || zeroFilledBytes > 0
  return links.map((link) => (hasGaps(link) ? { ...link, chunks: () => checked(link) } : link))
}

/**
 * Throws MANIFEST_INVALID where a chunk's part in a chain begins or ends within a block of the volume: a
 * newer backup has whole blocks, or ends in the last one.
 */
export function checkPieces(
  chunk: StoredChunk,
  pieces: readonly Extent[],
  expected: ExpectedDigests | null,
): void {
  if (expected === null) return
  const { blockSizeBytes } = expected
  const lastBlockBytes = (countOf(expected) - 1) * blockSizeBytes
  const isEdge = (bytes: number) => bytes % blockSizeBytes === 0 || bytes > lastBlockBytes
  for (const piece of pieces) {
    if (!isEdge(piece.offsetBytes) || !isEdge(piece.offsetBytes + piece.lengthBytes)) {
      throw noBlocks(chunk, piece, expected)
    }
  }
}

function noBlocks(
  { name }: StoredChunk,
  { offsetBytes, lengthBytes }: Extent,
  { blockSizeBytes }: ExpectedDigests,
): AgentError {
  const what = `${lengthBytes} bytes of chunk ${name} for offset ${offsetBytes} are no whole blocks of ${blockSizeBytes}`
  return disagree(what, { offsetBytes, lengthBytes })
}

/** Throws MANIFEST_INVALID where an extent that is to be zeros is something else by its digests. */
export async function checkZeros(
  extent: Extent,
  expected: ExpectedDigests | null,
  endBytes: number,
): Promise<void> {
  if (mayBeZeros([extent], await expectedOf([extent], expected, endBytes))) return
  const { offsetBytes, lengthBytes } = extent
  throw disagree(`${lengthBytes} bytes at ${offsetBytes} are zeros, or are not`, extent)
}

/** The digests of the blocks that extents of the volume lie in. */
export async function expectedOf(
  pieces: readonly Extent[],
  expected: ExpectedDigests | null,
  endBytes: number,
): Promise<ExpectedBlocks | null> {
  const [first, last] = [pieces[0], pieces.at(-1)]
  if (expected === null || first === undefined || last === undefined) return null
  const { blockSizeBytes, digests } = expected
  const firstBlock = Math.floor(first.offsetBytes / blockSizeBytes)
  const endBlock = Math.ceil((last.offsetBytes + last.lengthBytes) / blockSizeBytes)
  const packed = new Uint8Array((endBlock - firstBlock) * digestBytes)
  const bytes = await digests.read(firstBlock * digestBytes, packed)
  return { blockSizeBytes, firstBlock, endBytes, digests: packed.subarray(0, bytes) }
}
