import { AgentError } from './errors.ts'
import type { Extent } from './extents.ts'
import type { StoredChunk } from './stored-chunk.ts'

// Beyond it an object is rather fetched once more than its pieces be gathered for ever.
const piecesMax = 32_768
const zerosBytesMax = 67_108_864 // In one step.

/** One backup of a chain, as far as its restore must know it. */
export type RestoreLink = {
  readonly backupId: string
  readonly parentId: string | null
  readonly container: string
  readonly endBytes: number
  /** Below this offset a full backup holds zeros where it has no chunk. */
  readonly zeroFilledBytes: number
  /** The chunks in volume order; they do not overlap. */
  readonly chunks: () => AsyncIterable<StoredChunk>
}

/** What to fetch, and which parts of it to write; or where to write zeros. */
export type RestoreStep =
  | {
      readonly kind: 'chunk'
      readonly container: string
      readonly chunk: StoredChunk
      /** The extents of the volume that are this chunk's, in order. */
      readonly pieces: readonly Extent[]
    }
  | { readonly kind: 'zeros'; readonly extent: Extent }

/** Where the data of a chain ends; the volume must reach that far. */
export function endOfChain(links: readonly RestoreLink[]): number {
  return Math.max(0, ...links.map(({ endBytes }) => endBytes))
}

/** Throws PARENT_MISMATCH unless `links` are a chain from a full backup on, each the next one's parent. */
function checkChain(links: readonly RestoreLink[]): void {
  let parentId: string | null = null
  for (const link of links) {
    if (link.parentId !== parentId) {
      throw new AgentError(
        'PARENT_MISMATCH',
        `backup ${link.backupId} says its parent is ${link.parentId ?? 'none'}, ` +
          `but the chain has ${parentId ?? 'none'} there`,
        { backupId: link.backupId, parentId: link.parentId },
      )
    }
    parentId = link.backupId
  }
}

/**
 * How to restore a chain, oldest link first: every byte is written once, from the newest link that
 * has it, and each object is fetched at most once, or not at all where newer ones cover it. Zeros in
 * an incremental are bytes like others. Memory is bounded by the links and what is open of each.
 * Throws PARENT_MISMATCH, or MANIFEST_INVALID where it comes to bytes that no link has: what the
 * volume held there would stay and be taken for restored.
 */
export async function* planRestore(
  links: readonly RestoreLink[],
): AsyncGenerator<RestoreStep, void, undefined> {
  checkChain(links)
  const zerosEnd = links[0]?.zeroFilledBytes ?? 0
  const cursors = await Promise.all(links.map(openCursor))
  try {
    let position = 0
    while (cursors.some(({ open }) => open !== null)) {
      const owner = cursors.findLast(({ open }) => open !== null && startOf(open) <= position)
      const end = nextBoundary(cursors, owner, position)
      if (owner?.open) {
        addPiece(owner.open, position, end)
        if (owner.open.pieces.length === piecesMax) yield take(owner.container, owner.open)
      } else {
        yield* zeros(position, Math.min(end, zerosEnd))
        if (end > zerosEnd) throw nothingFor(links, Math.max(position, zerosEnd), end)
      }
      position = end
      for (const cursor of cursors) {
        while (cursor.open !== null && endOf(cursor.open) <= position) {
          if (cursor.open.pieces.length > 0) yield take(cursor.container, cursor.open)
          await advance(cursor)
        }
      }
    }
    if (position < zerosEnd) yield* zeros(position, zerosEnd)
  } finally {
    await Promise.all(cursors.map(({ chunks }) => chunks.return?.()))
  }
}

function nothingFor(links: readonly RestoreLink[], start: number, end: number): AgentError {
  const backupId = links.at(-1)?.backupId
  return new AgentError(
    'MANIFEST_INVALID',
    `backup ${backupId} and those that it builds on have nothing for bytes ${start} to ${end} of the ` +
      'volume: their metadata is not whole',
    { backupId, offsetBytes: start, lengthBytes: end - start },
  )
}

type OpenChunk = {
  readonly chunk: StoredChunk
  pieces: { offsetBytes: number; lengthBytes: number }[]
}

type Cursor = {
  readonly container: string
  readonly chunks: AsyncIterator<StoredChunk>
  open: OpenChunk | null
}

async function openCursor(link: RestoreLink): Promise<Cursor> {
  const chunks = link.chunks()[Symbol.asyncIterator]()
  const cursor: Cursor = { container: link.container, chunks, open: null }
  await advance(cursor)
  return cursor
}

async function advance(cursor: Cursor): Promise<void> {
  const next = await cursor.chunks.next()
  cursor.open = next.done ? null : { chunk: next.value, pieces: [] }
}

const startOf = ({ chunk }: OpenChunk) => chunk.offsetBytes
const endOf = ({ chunk }: OpenChunk) => chunk.offsetBytes + chunk.lengthBytes

/** Where the owner of `position` changes: at its end, or where a newer link begins. */
function nextBoundary(
  cursors: readonly Cursor[],
  owner: Cursor | undefined,
  position: number,
): number {
  let boundary = owner?.open ? endOf(owner.open) : Number.POSITIVE_INFINITY
  const newer = owner === undefined ? 0 : cursors.indexOf(owner) + 1
  for (let index = newer; index < cursors.length; index++) {
    const open = cursors[index]?.open
    if (open && startOf(open) > position) boundary = Math.min(boundary, startOf(open))
  }
  return boundary
}

function addPiece({ pieces }: OpenChunk, start: number, end: number): void {
  const last = pieces.at(-1)
  if (last !== undefined && last.offsetBytes + last.lengthBytes === start) {
    last.lengthBytes = end - last.offsetBytes
  } else {
    pieces.push({ offsetBytes: start, lengthBytes: end - start })
  }
}

function take(container: string, open: OpenChunk): RestoreStep {
  const { chunk, pieces } = open
  open.pieces = []
  return { kind: 'chunk', container, chunk, pieces }
}

function* zeros(start: number, end: number): Generator<RestoreStep, void, undefined> {
  for (let offsetBytes = start; offsetBytes < end; offsetBytes += zerosBytesMax) {
    const lengthBytes = Math.min(zerosBytesMax, end - offsetBytes)
    yield { kind: 'zeros', extent: { offsetBytes, lengthBytes } }
  }
}
