import { AgentError, hasCode } from '../domain/errors.ts'
import type { Extent } from '../domain/extents.ts'
import type { StoredChunk } from '../domain/stored-chunk.ts'
import { mapOrdered } from '../lib/map-ordered.ts'
import type { ObjectId, ObjectStore } from '../ports/object-store.ts'

/** What lies between two pieces is fetched along where it is shorter: a request costs more than that. */
const gapBytesMin = 98_304

/** A part of its own is worth the requests where it spares this share of the object. */
const sparedShareMin = 0.05

const requestsMax = 8

/**
 * The parts of a chunk that is stored as it is, without what newer backups have of it; null where it
 * is better fetched as a whole. Offsets are the object's.
 */
export function partsWorthFetching(
  { offsetBytes, lengthBytes }: StoredChunk,
  pieces: readonly Extent[],
): readonly Extent[] | null {
  const parts: { offsetBytes: number; lengthBytes: number }[] = []
  for (const piece of pieces) {
    const start = piece.offsetBytes - offsetBytes
    const last = parts.at(-1)
    const isNear = last && start - (last.offsetBytes + last.lengthBytes) < gapBytesMin
    if (isNear) last.lengthBytes = start + piece.lengthBytes - last.offsetBytes
    else parts.push({ offsetBytes: start, lengthBytes: piece.lengthBytes })
  }
  const bytes = parts.reduce((sum, part) => sum + part.lengthBytes, 0)
  return bytes <= lengthBytes * (1 - sparedShareMin) ? parts : null
}

/**
 * Fetches parts of an object to their places in `into`. Resolves to how many bytes came, or to null
 * where the store gives no parts or has not that much of it: the whole then tells more. Rejects with
 * what else the store rejects with, or with the signal's reason.
 */
export async function fetchParts(
  store: ObjectStore,
  id: ObjectId,
  parts: readonly Extent[],
  into: Uint8Array,
  signal: AbortSignal,
): Promise<number | null> {
  let fetchedBytes = 0
  const fetched = mapOrdered(parts, requestsMax, signal, async (part, stop) => {
    const room = into.subarray(part.offsetBytes, part.offsetBytes + part.lengthBytes)
    let at = 0
    const sink = {
      start() {
        at = 0
      },
      write(piece: Uint8Array) {
        if (at + piece.byteLength > room.byteLength) throw tooMuch()
        room.set(piece, at)
        at += piece.byteLength
      },
    }
    fetchedBytes += await store.getUndigested(id, sink, stop, part)
  })
  try {
    for await (const _ of fetched);
    return fetchedBytes
  } catch (error) {
    signal.throwIfAborted()
    if (hasCode(error, 'STORE_REFUSED') || hasCode(error, 'DOWNLOAD_CORRUPT')) return null
    throw error
  }
}

function tooMuch(): AgentError {
  return new AgentError('DOWNLOAD_CORRUPT', 'more came than was asked for')
}
