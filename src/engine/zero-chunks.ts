import type { Compression } from '../domain/compression.ts'

/** What is to be stored of some bytes, and both digests of it. */
export type PackedBody = {
  readonly compression: Compression
  /** The plain bytes themselves, a view of the lane's buffer, or memory of its own. */
  readonly body: Uint8Array
  /** Hex, of the plain bytes. */
  readonly md5: string
  /** Hex, of `body`. */
  readonly storedMd5: string
}

/**
 * The all-zero chunk of each length and compression, made once in the life of a lane: everything about
 * it is a constant. Of one that is stored as it is, only the digests are kept, with an empty body.
 */
export type ZeroChunks = {
  readonly get: (key: string) => PackedBody | undefined
  /** Returns it in memory of its own, whether there was room to keep it or not. */
  readonly set: (key: string, body: PackedBody) => PackedBody
}

const bodiesMax = 16
const bodyBytesMax = 1_048_576

export function zeroChunks(): ZeroChunks {
  const bodies = new Map<string, PackedBody>()
  return {
    get: (key) => bodies.get(key),
    set(key, packed) {
      const isPlain = packed.compression === 'none'
      const own = { ...packed, body: isPlain ? new Uint8Array(0) : Buffer.from(packed.body) }
      if (bodies.size < bodiesMax && own.body.byteLength <= bodyBytesMax) bodies.set(key, own)
      return own
    },
  }
}
