import { createHash, type Hash } from 'node:crypto'

import { codecOf } from '../domain/compression.ts'
import { AgentError, hasCode } from '../domain/errors.ts'
import type { Extent } from '../domain/extents.ts'
import type { RestoreStep } from '../domain/restore-plan.ts'
import type { StoredChunk } from '../domain/stored-chunk.ts'
import type { ByteBudget } from '../lib/byte-budget.ts'
import type { ObjectSink, ObjectStore, StoredObject } from '../ports/object-store.ts'
import { type Decoder, openDecoder } from './codecs.ts'
import { isZeros } from './fingerprint.ts'
import type { SparseWriter } from './sparse-write.ts'
import type { ZeroBodies } from './zero-bodies.ts'

export type ChunkStep = Extract<RestoreStep, { kind: 'chunk' }>

export type ChunkRestore = {
  readonly store: ObjectStore
  readonly writer: SparseWriter
  readonly room: ByteBudget
  /** A larger chunk is not held in memory. */
  readonly bytesHeldMax: number
  readonly zeroBodies: ZeroBodies
}

const streamBufferBytes = 4_194_304

/**
 * Fetches one object and writes the pieces of it that the plan names: after its length and digest
 * were verified or, where it is too large to be held, while it comes. Rejects with CHUNK_CORRUPT or
 * OBJECT_NOT_FOUND, naming object, offset and length, and whether anything of it was written.
 */
export async function restoreChunk(
  restore: ChunkRestore,
  step: ChunkStep,
  signal: AbortSignal,
): Promise<void> {
  const { chunk } = step
  const isHeld = chunk.lengthBytes <= restore.bytesHeldMax
  const bytes = isHeld ? chunk.lengthBytes : Math.min(streamBufferBytes, restore.bytesHeldMax)
  using room = await restore.room.take(bytes, signal)
  const into = () => room.buffer(bytes)
  await using fetch = isHeld
    ? heldFetch(restore, step, into, signal)
    : streamedFetch(restore, step, into, signal)
  try {
    const id = { container: step.container, name: chunk.name }
    const stored = await restore.store.getObject(id, fetch.sink, signal)
    await fetch.complete(stored)
  } catch (error) {
    signal.throwIfAborted()
    throw fetch.named(error)
  }
}

type Fetch = AsyncDisposable & {
  readonly sink: ObjectSink
  /** The whole object came, and the store vouches for it: verifies the chunk, and writes it. */
  readonly complete: (stored: StoredObject) => Promise<void>
  /** The failure with the chunk's name and place. */
  readonly named: (error: unknown) => unknown
}

function heldFetch(
  { writer, zeroBodies }: ChunkRestore,
  { chunk, pieces }: ChunkStep,
  buffer: () => Buffer,
  signal: AbortSignal,
): Fetch {
  const { offsetBytes, lengthBytes } = chunk
  let at = 0
  const decoding = verifiedDecoding(chunk, signal, {
    start: () => {
      at = 0
    },
    take: (plain) => {
      buffer().set(plain, at)
      at += plain.byteLength
    },
  })
  let known = zeroBodies.compare(chunk)

  async function writeHeld(): Promise<void> {
    const plain = buffer().subarray(0, lengthBytes)
    if (isZeros(plain)) known.learn()
    for (const piece of pieces) {
      const from = piece.offsetBytes - offsetBytes
      await writer.write(piece.offsetBytes, plain.subarray(from, from + piece.lengthBytes), signal)
    }
  }

  return {
    sink: {
      async start() {
        known = zeroBodies.compare(chunk)
        await decoding.start()
      },
      async write(piece) {
        for (const unknown of known.unknown(piece)) await decoding.write(unknown)
      },
    },
    async complete(stored) {
      if (known.isWhole()) {
        for (const piece of pieces) await writer.writeZeros(piece, signal)
        return
      }
      for (const unknown of known.rest()) await decoding.write(unknown)
      await decoding.complete(stored)
      await writeHeld()
    },
    named: (error) => chunkError(error, chunk, 'nothing of it was written'),
    [Symbol.asyncDispose]: decoding[Symbol.asyncDispose],
  }
}

function streamedFetch(
  { writer }: ChunkRestore,
  { chunk, pieces }: ChunkStep,
  buffer: () => Buffer,
  signal: AbortSignal,
): Fetch {
  let bufferAt = chunk.offsetBytes
  let bufferedBytes = 0
  let nextPiece = 0

  async function flush(): Promise<void> {
    const plain = buffer().subarray(0, bufferedBytes)
    const end = bufferAt + bufferedBytes
    while (nextPiece < pieces.length) {
      const piece = pieces[nextPiece] as Extent
      const pieceEnd = piece.offsetBytes + piece.lengthBytes
      const from = Math.max(piece.offsetBytes, bufferAt)
      const to = Math.min(pieceEnd, end)
      if (from < to)
        await writer.write(from, plain.subarray(from - bufferAt, to - bufferAt), signal)
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
        const free = buffer().byteLength - bufferedBytes
        const part = plain.subarray(from, from + free)
        buffer().set(part, bufferedBytes)
        bufferedBytes += part.byteLength
        from += part.byteLength
        if (bufferedBytes === buffer().byteLength) await flush()
      }
    },
  })

  return {
    sink: { start: decoding.start, write: decoding.write },
    async complete(stored) {
      await decoding.complete(stored)
      await flush()
    },
    named: (error) =>
      chunkError(error, chunk, 'this extent of the volume may hold bad bytes', {
        badExtent: { offsetBytes: chunk.offsetBytes, lengthBytes: chunk.lengthBytes },
      }),
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

function chunkError(
  error: unknown,
  { name, offsetBytes, lengthBytes }: StoredChunk,
  consequence: string,
  context: Record<string, unknown> = {},
): unknown {
  const isOurs = hasCode(error, 'CHUNK_CORRUPT') || hasCode(error, 'OBJECT_NOT_FOUND')
  if (!isOurs) return error
  const what = error.code === 'CHUNK_CORRUPT' ? 'is corrupt' : 'is missing'
  return new AgentError(
    error.code,
    `chunk ${name} (offset ${offsetBytes}, ${lengthBytes} bytes) ${what}: ${error.message}; ` +
      consequence,
    { ...error.context, ...context, object: name, offsetBytes, lengthBytes },
    error,
  )
}
