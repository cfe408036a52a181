import type { StoredChunk } from '../domain/stored-chunk.ts'

const bodyBytesMax = 262_144
const bodiesMax = 16

/**
 * The stored bytes of all-zero chunks that were verified before. A volume that is mostly empty is
 * thousands of the same small object, and inflating each of them would take most of the time.
 */
export type ZeroBodies = {
  /** Whether `stored` is the known body of such a chunk. */
  readonly has: (chunk: StoredChunk, stored: Uint8Array) => boolean
  /** The chunk was verified, and is all zeros: it is known from now on. */
  readonly learn: (chunk: StoredChunk, stored: Uint8Array) => void
}

export function zeroBodies(): ZeroBodies {
  const bodies = new Map<string, Uint8Array>()
  return {
    has: (chunk, stored) =>
      bodies.get(keyOf(chunk))?.byteLength === stored.byteLength &&
      Buffer.compare(bodies.get(keyOf(chunk)) ?? stored, stored) === 0,
    learn(chunk, stored) {
      if (bodies.size >= bodiesMax || stored.byteLength > bodyBytesMax) return
      bodies.set(keyOf(chunk), Buffer.from(stored))
    },
  }
}

/** Equal bytes in another compression, or for another length, are something else. */
function keyOf({ compression, lengthBytes, md5 }: StoredChunk): string {
  return `${compression} ${lengthBytes} ${md5}`
}
