import type { StoredChunk } from '../domain/stored-chunk.ts'

const bodyBytesMax = 262_144
const bodiesMax = 16

/**
 * The stored bytes of all-zero chunks that were verified before. A volume that is mostly empty is
 * thousands of the same small object, and inflating each of them would take most of the time.
 */
export type ZeroBodies = {
  /** Compares an object as it comes with the known body of such a chunk, if there is one. */
  readonly compare: (chunk: StoredChunk) => BodyComparison
}

export type BodyComparison = {
  /** The bytes that have to be looked at after all, once `piece` has come. */
  readonly unknown: (piece: Uint8Array) => readonly Uint8Array[]
  /** Those that were held back, when no more will come. */
  readonly rest: () => readonly Uint8Array[]
  /** Whether all that came is the known body. */
  readonly isWhole: () => boolean
  /** What came was verified, and is all zeros: it is known from now on. */
  readonly learn: () => void
}

export function zeroBodies(): ZeroBodies {
  const bodies = new Map<string, Uint8Array>()
  return {
    compare(chunk) {
      // Equal bytes in another compression, or for another length, are something else.
      const key = `${chunk.compression} ${chunk.lengthBytes} ${chunk.md5}`
      const learn = (body: Uint8Array) => {
        if (bodies.size < bodiesMax) bodies.set(key, body)
      }
      return comparison(bodies.get(key) ?? null, learn)
    },
  }
}

function comparison(body: Uint8Array | null, remember: (body: Uint8Array) => void): BodyComparison {
  let collected: Uint8Array[] = []
  let bytes = 0
  let isKnown = body !== null

  /** Keeps what came while it may be worth remembering. */
  function collect(piece: Uint8Array): void {
    bytes += piece.byteLength
    if (bytes <= bodyBytesMax) collected.push(Buffer.from(piece))
    else collected = []
  }

  return {
    unknown(piece) {
      if (body === null || !isKnown) {
        collect(piece)
        return [piece]
      }
      const wanted = body.subarray(bytes, bytes + piece.byteLength)
      if (Buffer.compare(piece, wanted) === 0) {
        bytes += piece.byteLength
        return []
      }
      isKnown = false
      return [body.subarray(0, bytes), piece]
    },
    rest() {
      const held = isKnown && body !== null ? [body.subarray(0, bytes)] : []
      isKnown = false
      return held
    },
    isWhole: () => isKnown && bytes === body?.byteLength,
    learn() {
      if (body === null && bytes <= bodyBytesMax) remember(Buffer.concat(collected))
    },
  }
}
