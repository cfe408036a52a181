import { inflateSync, zstdDecompressSync } from 'node:zlib'

import type { Compress, Decompress } from '../../ports/accelerator.ts'

// A library that is found by its name may be another than we know. Before its codec is offered it
// compresses a sample, which the runtime's own decoder and then the codec's must read.

type Codec = { readonly compress: Compress; readonly decompress?: Decompress }

// Text, numbers that repeat late, and zeros: literals, matches near and far, and runs.
const sample = Buffer.concat([
  Buffer.from('What is tried is what runs. '.repeat(40)),
  Buffer.from(Uint32Array.from({ length: 8192 }, (_, i) => (i * i * 2654435761) >>> 8).buffer),
  Buffer.alloc(20_000),
])

export function worksLikeZlib(codec: Codec): boolean {
  return works(codec, inflateSync)
}

export function worksLikeZstd(codec: Codec): boolean {
  return works(codec, zstdDecompressSync)
}

/** `decode` is somebody else's decoder, where there is one. */
export function works({ compress, decompress }: Codec, decode?: (stored: Uint8Array) => Buffer) {
  const room = Buffer.alloc(2 * sample.byteLength)
  const stored = room.subarray(0, compress(sample, room, 1))
  const plain = Buffer.alloc(sample.byteLength)
  try {
    if (decode !== undefined && !decode(stored).equals(sample)) return false
  } catch {
    return false
  }
  if (decompress === undefined) return true
  return decompress(stored, plain) === plain.byteLength && plain.equals(sample)
}
