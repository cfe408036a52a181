import zlib from 'node:zlib'

import { type Codec, type Compression, codecOf } from '../domain/compression.ts'
import type { Effort } from '../domain/lane-tasks.ts'
import type { Accelerator, Decompress, NativeCodec } from '../ports/accelerator.ts'
import { compress, openDecoder } from './codecs.ts'

/**
 * Compresses `plain`: what came of it, in `into` or in memory of its own, or null where it is longer
 * than `into`.
 */
export type Pack = (
  plain: Uint8Array,
  into: Uint8Array,
  signal: AbortSignal,
) => Promise<Uint8Array | null> | Uint8Array | null

// Of libdeflate 5 is already smaller than Python's 6, and a tenth cheaper than its own 6.
const libdeflateLevel = 5
const isaLevel = 2
const fastLevel = 1
const zlibLevel = 6 // What Python's zlib takes by default, and so Cinder.
const zstdLevel = 3 // What Python's zstd takes by default.
const bz2Level = 9 // What Python's bz2 takes by default.
// Of blocks half as long as zlib's default the runtime's zlib makes 0.3 % less, and no slower.
const zlibMemLevel = 7
const chunkSizeMin = 64 // Of zlib's options: less is refused.

/** The quickest way that this host has to write `codec`. */
export function packerOf(
  codec: Exclude<Codec, 'none'>,
  effort: Effort,
  accelerator: Accelerator | null,
): Pack {
  const native = nativePacker(codec, effort, accelerator)
  if (native !== null) return native
  switch (codec) {
    case 'zlib': {
      const level = effort === 'fast' ? fastLevel : zlibLevel
      return own((plain, limits) =>
        zlib.deflateSync(plain, { level, memLevel: zlibMemLevel, ...limits }),
      )
    }
    case 'zstd':
      return own((plain, limits) =>
        zlib.zstdCompressSync(plain, {
          ...limits,
          pledgedSrcSize: plain.byteLength, // Python refuses a frame that does not say its length.
          params: { [zlib.constants.ZSTD_c_compressionLevel]: zstdLevel },
        }),
      )
    case 'bz2':
      return packBz2
  }
}

function nativePacker(
  codec: Exclude<Codec, 'none'>,
  effort: Effort,
  accelerator: Accelerator | null,
): Pack | null {
  const { zlib: exact = null, fastZlib = null, bz2 = null, zstd = null } = accelerator ?? {}
  switch (codec) {
    case 'zlib':
      if (effort !== 'fast') return caller(exact, libdeflateLevel)
      return caller(fastZlib, isaLevel) ?? caller(exact, fastLevel)
    case 'zstd':
      return caller(zstd, zstdLevel)
    case 'bz2':
      return caller(bz2, bz2Level)
  }
}

function caller(codec: Pick<NativeCodec, 'compress'> | null, level: number): Pack | null {
  if (codec === null) return null
  return (plain, into) => {
    const bytes = codec.compress(plain, into, level)
    return bytes === 0 ? null : into.subarray(0, bytes)
  }
}

type OutputLimits = { readonly chunkSize: number; readonly maxOutputLength: number }

/** `work` gives its body in one piece of memory of its own, of which only what is filled becomes real. */
function own(work: (plain: Uint8Array, limits: OutputLimits) => Buffer): Pack {
  return (plain, { byteLength: maxOutputLength }) => {
    if (maxOutputLength === 0) return null
    try {
      return work(plain, { chunkSize: Math.max(chunkSizeMin, maxOutputLength), maxOutputLength })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') return null
      throw error
    }
  }
}

/**
 * Gives the memory of a body back that is nobody else's: the collector would let several of them pile up
 * first. Nobody may use it by then.
 */
export function giveBackBody({ buffer }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength > Buffer.poolSize) buffer.transfer(0)
}

/** By a program of the host. */
const packBz2: Pack = async (plain, into, signal) => {
  const { compression, pieces, sizeBytes } = await compress(plain, 'bz2', signal)
  if (compression === 'none' || sizeBytes > into.byteLength) return null
  let at = 0
  for (const piece of pieces) {
    into.set(piece, at)
    at += piece.byteLength
  }
  return into.subarray(0, at)
}

/**
 * Decompresses the whole of a chunk into `into`, which is as long as the chunk. Rejects with
 * CHUNK_CORRUPT where `stored` is not exactly that many bytes in that compression, with
 * COMPRESSION_UNSUPPORTED, or with the signal's reason.
 */
export async function unpack(
  stored: Uint8Array,
  compression: Compression,
  into: Uint8Array,
  accelerator: Accelerator | null,
  signal: AbortSignal,
): Promise<void> {
  const decompress = nativeDecompress(codecOf(compression), accelerator)
  if (decompress?.(stored, into) === into.byteLength) return
  // The slow way, where there is no other, and to say what exactly is wrong.
  let at = 0
  const take = (plain: Uint8Array) => {
    into.set(plain, at)
    at += plain.byteLength
  }
  await using decoder = await openDecoder(compression, into.byteLength, take, signal)
  await decoder.write(stored)
  await decoder.end()
}

function nativeDecompress(codec: Codec, accelerator: Accelerator | null): Decompress | null {
  return codec === 'none' ? null : (accelerator?.[codec]?.decompress ?? null)
}
