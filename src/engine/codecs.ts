import zlib from 'node:zlib'

import { type Codec, type Compression, codecOf } from '../domain/compression.ts'
import { AgentError } from '../domain/errors.ts'
import type { Accelerator } from '../ports/accelerator.ts'
import { bz2Decoder, bz2Encoder, findBz2Program } from './bz2-filter.ts'
import { type Filter, type OpenFilter, streamFilter } from './filter.ts'

type Coder = {
  /** `plainBytes` is what will be written to it. */
  readonly encoder: (plainBytes: number) => Promise<OpenFilter>
  readonly decoder: () => Promise<OpenFilter>
  /** Whether several streams, one after the other, are one chunk. */
  readonly mayRepeat: boolean
}

const chunkSize = 262_144 // Of what comes out at once.
const level = 6 // What Python's zlib takes by default, and so Cinder.
const zstdLevel = 3 // What Python's zstd takes by default.

const coders = {
  none: null,
  zlib: {
    encoder: async () => streamFilter(() => zlib.createDeflate({ chunkSize, level })),
    decoder: async () => streamFilter(() => zlib.createInflate({ chunkSize })),
    mayRepeat: false, // Python gives what is in the first and drops the rest without a word.
  },
  zstd: {
    // Python refuses a frame that does not say how long its content is.
    encoder: async (pledgedSrcSize) =>
      streamFilter(() =>
        zlib.createZstdCompress({
          chunkSize,
          pledgedSrcSize,
          params: { [zlib.constants.ZSTD_c_compressionLevel]: zstdLevel },
        }),
      ),
    decoder: async () => streamFilter(() => zlib.createZstdDecompress({ chunkSize })),
    mayRepeat: true,
  },
  bz2: {
    encoder: async () => bz2Encoder((await findBz2Program()) ?? noBz2Program()),
    decoder: async () => bz2Decoder(await findBz2Program()),
    mayRepeat: true,
  },
} as const satisfies Record<Codec, Coder | null>

function noBz2Program(): never {
  throw new AgentError(
    'COMPRESSION_UNSUPPORTED',
    'writing bz2 needs the program bzip2 or lbzip2, and neither is on the PATH; install one or ' +
      'choose another backup_compression_algorithm',
  )
}

/** Rejects with COMPRESSION_UNSUPPORTED where this host cannot write `compression`. */
export async function checkCompression(
  compression: Compression,
  accelerator: Accelerator | null,
): Promise<void> {
  const codec = codecOf(compression)
  if (codec === 'none' || accelerator?.[codec]) return
  await coders[codec].encoder(0)
}

/** `pieces` follow one another; they are not put together, for that would hold them twice. */
export type CompressedChunk = {
  readonly compression: Compression
  readonly pieces: readonly Uint8Array[]
  readonly sizeBytes: number
}

/**
 * Compresses `plain`, or gives it back itself as `none` where that would not make it smaller (as
 * Cinder does since Liberty). Rejects with COMPRESSION_UNSUPPORTED or the signal's reason.
 */
export async function compress(
  plain: Uint8Array,
  wanted: Compression,
  signal: AbortSignal,
): Promise<CompressedChunk> {
  const uncompressed = {
    compression: 'none',
    pieces: [plain],
    sizeBytes: plain.byteLength,
  } as const
  const coder: Coder | null = coders[codecOf(wanted)]
  if (coder === null) return uncompressed
  const open = await coder.encoder(plain.byteLength)

  const pieces: Uint8Array[] = []
  let sizeBytes = 0
  const tooLarge = new Error('compressing does not make it smaller')
  const keep = (piece: Uint8Array) => {
    sizeBytes += piece.byteLength
    if (sizeBytes >= plain.byteLength) throw tooLarge
    pieces.push(piece)
  }
  await using filter = open(keep, signal)
  try {
    await filter.write(plain)
    await filter.finish()
  } catch (error) {
    if (error === tooLarge) return uncompressed
    signal.throwIfAborted()
    if (error instanceof AgentError) throw error
    const why = (error as Error).message
    throw new AgentError('COMPRESSION_UNSUPPORTED', `compressing with ${wanted}: ${why}`, {}, error)
  }
  return { compression: wanted, pieces, sizeBytes }
}

/** Undoes a compression as the stored bytes come. */
export interface Decoder extends AsyncDisposable {
  /** Takes stored bytes, which may be reused once it resolves. */
  write(piece: Uint8Array): Promise<void>
  /** Says that this was all; resolves when the last of the plain bytes was taken. */
  end(): Promise<void>
}

/**
 * Opens a decoder for a chunk of `lengthBytes`. Both its methods reject with CHUNK_CORRUPT where the
 * stored bytes are not exactly that many in that compression, with what `output` rejects with, or
 * with the signal's reason. Never gives out more than `lengthBytes`.
 */
export async function openDecoder(
  compression: Compression,
  lengthBytes: number,
  output: (plain: Uint8Array) => void | Promise<void>,
  signal: AbortSignal,
): Promise<Decoder> {
  const coder: Coder | null = coders[codecOf(compression)]
  let plainBytes = 0
  const give = (plain: Uint8Array) => {
    plainBytes += plain.byteLength
    if (plainBytes > lengthBytes) throw corrupt(`it holds more than its ${lengthBytes} bytes`)
    return output(plain)
  }
  const decoder =
    coder === null
      ? plainDecoder(give)
      : filterDecoder(await coder.decoder(), coder.mayRepeat, give, signal)
  return {
    write: decoder.write,
    async end() {
      await decoder.end()
      if (plainBytes < lengthBytes) {
        throw corrupt(`it holds ${plainBytes} bytes instead of ${lengthBytes}`)
      }
    },
    [Symbol.asyncDispose]: decoder[Symbol.asyncDispose],
  }
}

function plainDecoder(give: (plain: Uint8Array) => void | Promise<void>): Decoder {
  return {
    async write(piece) {
      await give(piece)
    },
    async end() {},
    async [Symbol.asyncDispose]() {},
  }
}

function filterDecoder(
  open: OpenFilter,
  mayRepeat: boolean,
  give: (plain: Uint8Array) => void | Promise<void>,
  signal: AbortSignal,
): Decoder {
  let filter: Filter | null = open(give, signal)

  async function dispose(): Promise<void> {
    await filter?.[Symbol.asyncDispose]()
    filter = null
  }

  async function blaming<T>(work: Promise<T>): Promise<T> {
    try {
      return await work
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof AgentError) throw error
      throw corrupt(`it cannot be decompressed: ${(error as Error).message}`, error)
    }
  }

  return {
    async write(piece) {
      let rest = piece
      while (rest.byteLength > 0) {
        filter ??= open(give, signal)
        const taken = await blaming(filter.write(rest))
        rest = rest.subarray(taken)
        if (rest.byteLength === 0) return
        if (!mayRepeat || taken === 0) throw corrupt('it goes on after its end')
        await blaming(filter.finish())
        await dispose()
      }
    },
    async end() {
      if (filter !== null) await blaming(filter.finish())
    },
    [Symbol.asyncDispose]: dispose,
  }
}

function corrupt(why: string, cause?: unknown): AgentError {
  return new AgentError('CHUNK_CORRUPT', why, {}, cause)
}
