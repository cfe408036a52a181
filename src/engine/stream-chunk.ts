import { createHash, type Hash } from 'node:crypto'

import { codecOf } from '../domain/compression.ts'
import { AgentError, hasCode } from '../domain/errors.ts'
import type { Extent } from '../domain/extents.ts'
import type { ExpectedBlocks } from '../domain/lane-tasks.ts'
import type { StoredChunk } from '../domain/stored-chunk.ts'
import type { Accelerator } from '../ports/accelerator.ts'
import type { ObjectSink, ObjectStore, StoredObject } from '../ports/object-store.ts'
import { type Decoder, openDecoder } from './codecs.ts'
import type { SparseWriter } from './sparse-write.ts'
import { checkBlocks } from './verify-chunk.ts'

export type StreamedChunk = {
  readonly container: string
  readonly chunk: StoredChunk
  readonly pieces: readonly Extent[]
  /** Null where no sha256file can be used: then the md5 tells in the end. */
  readonly expected: ExpectedBlocks | null
  /** What is written at once. */
  readonly buffer: Buffer
}

/**
 * Fetches a chunk that is too large to be held, and writes its pieces while it comes. Resolves to the
 * bytes that were fetched. Rejects with CHUNK_CORRUPT when by then bad bytes were written, with what
 * the store or the volume rejects with, or with the signal's reason.
 */
export async function streamChunk(
  { container, chunk, pieces, expected, buffer }: StreamedChunk,
  store: ObjectStore,
  writer: SparseWriter,
  accelerator: Accelerator | null,
  signal: AbortSignal,
): Promise<number> {
  await using fetch = streamedFetch(
    { writer, expected, accelerator },
    chunk,
    pieces,
    buffer,
    signal,
  )
  const stored = await store.getObject({ container, name: chunk.name }, fetch.sink, signal)
  await fetch.complete(stored)
  return stored.sizeBytes
}

type Judging = {
  readonly writer: SparseWriter
  readonly expected: ExpectedBlocks | null
  readonly accelerator: Accelerator | null
}

type Fetch = AsyncDisposable & {
  readonly sink: ObjectSink
  /** The whole object came, and the store vouches for it: verifies the chunk, and writes the rest. */
  readonly complete: (stored: StoredObject) => Promise<void>
}

function streamedFetch(
  { writer, expected, accelerator }: Judging,
  chunk: StoredChunk,
  pieces: readonly Extent[],
  buffer: Buffer,
  signal: AbortSignal,
): Fetch {
  let bufferAt = chunk.offsetBytes
  let bufferedBytes = 0
  let nextPiece = 0

  async function flush(): Promise<void> {
    const plain = buffer.subarray(0, bufferedBytes)
    const end = bufferAt + bufferedBytes
    while (nextPiece < pieces.length) {
      const piece = pieces[nextPiece] as Extent
      const pieceEnd = piece.offsetBytes + piece.lengthBytes
      const from = Math.max(piece.offsetBytes, bufferAt)
      const to = Math.min(pieceEnd, end)
      if (from < to) {
        const bytes = plain.subarray(from - bufferAt, to - bufferAt)
        checkBlocks(bytes, from, expected, accelerator)
        await writer.write(from, bytes, signal)
      }
      if (pieceEnd > end) break
      nextPiece += 1
    }
    bufferAt = end
    bufferedBytes = 0
  }

  const decoding = verifiedDecoding(chunk, signal, {
    start: () => {
      bufferAt = chunk.offsetBytes
      bufferedBytes = 0
      nextPiece = 0
    },
    take: async (plain) => {
      for (let from = 0; from < plain.byteLength; ) {
        const free = buffer.byteLength - bufferedBytes
        const part = plain.subarray(from, from + free)
        buffer.set(part, bufferedBytes)
        bufferedBytes += part.byteLength
        from += part.byteLength
        if (bufferedBytes === buffer.byteLength) await flush()
      }
    },
  })

  return {
    sink: { start: decoding.start, write: decoding.write },
    async complete(stored) {
      await decoding.complete(stored)
      await flush()
    },
    [Symbol.asyncDispose]: decoding[Symbol.asyncDispose],
  }
}

type Decoding = AsyncDisposable & {
  readonly start: () => Promise<void>
  readonly write: (piece: Uint8Array) => Promise<void>
  readonly complete: (stored: StoredObject) => Promise<void>
}

/**
 * Decodes a chunk as it comes. What is wrong with it is told only at the end, when the store vouches
 * for the bytes: a broken transfer is tried again.
 */
function verifiedDecoding(
  { compression, lengthBytes, md5 }: StoredChunk,
  signal: AbortSignal,
  plainSink: {
    readonly start: () => void
    readonly take: (plain: Uint8Array) => void | Promise<void>
  },
): Decoding {
  let decoder: Decoder | null = null
  let digest: Hash = createHash('md5')
  let failure: unknown = null
  let storedBytes = 0

  async function dispose(): Promise<void> {
    await decoder?.[Symbol.asyncDispose]()
    decoder = null
  }

  async function attempt(work: () => Promise<void>): Promise<void> {
    if (failure !== null) return
    try {
      await work()
    } catch (error) {
      if (!hasCode(error, 'CHUNK_CORRUPT')) throw error
      failure = error
    }
  }

  return {
    async start() {
      await dispose()
      plainSink.start()
      digest = createHash('md5')
      failure = null
      storedBytes = 0
      const take = (plain: Uint8Array) => {
        digest.update(plain)
        return plainSink.take(plain)
      }
      decoder = await openDecoder(compression, lengthBytes, take, signal)
    },

    async write(piece) {
      storedBytes += piece.byteLength
      // Nothing that was ever written is larger; who sends more would have us read for ever.
      if (storedBytes > lengthBytes + lengthBytes / 50 + 65_536) {
        throw new AgentError('CHUNK_CORRUPT', `it is larger than its ${lengthBytes} bytes could be`)
      }
      await attempt(async () => decoder?.write(piece))
    },

    async complete(stored) {
      await attempt(async () => decoder?.end())
      if (failure !== null) throw failure
      const found = digest.digest('hex')
      // Before Liberty it was the digest of what is stored.
      if (found === md5 || (codecOf(compression) !== 'none' && stored.md5 === md5)) return
      throw new AgentError('CHUNK_CORRUPT', `its md5 is ${found}, and should be ${md5}`)
    },

    [Symbol.asyncDispose]: dispose,
  }
}
