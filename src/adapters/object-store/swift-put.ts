import { createHash, hash } from 'node:crypto'
import { Readable } from 'node:stream'

import { AgentError } from '../../domain/errors.ts'
import type {
  DigestedBody,
  ObjectId,
  StoredObject,
  StreamedBody,
} from '../../ports/object-store.ts'
import { type Bandwidth, inPieces, pacedPieces } from './bandwidth.ts'
import type { Ask, AskAccount, Asked } from './swift-account.ts'
import { describe } from './swift-answers.ts'
import { md5Of } from './swift-documents.ts'
import { textOf } from './swift-exchange.ts'

// Given a whole body, TLS would encrypt all of it into new memory at once.
const tlsPieceBytes = 1024 * 1024

export function digested(bytes: Uint8Array): DigestedBody {
  return { bytes, md5: hash('md5', bytes) }
}

export async function putBytes(
  ask: AskAccount,
  id: ObjectId,
  { bytes, md5 }: DigestedBody,
  bandwidth: Bandwidth,
  signal: AbortSignal,
): Promise<StoredObject> {
  const put: Ask = {
    verb: 'put',
    method: 'PUT',
    ...id,
    headers: { 'content-length': String(bytes.byteLength), etag: md5 },
    openBody: (origin) => {
      if (bandwidth.pieceBytes() !== null) return readable(pacedPieces([bytes], bandwidth, signal))
      return origin.startsWith('https:') ? readable(inPieces(bytes, tlsPieceBytes)) : bytes
    },
  }
  await finishPut(await ask(put, signal), md5)
  return { sizeBytes: bytes.byteLength, md5 }
}

export async function putStream(
  ask: AskAccount,
  id: ObjectId,
  body: StreamedBody,
  bandwidth: Bandwidth,
  signal: AbortSignal,
): Promise<StoredObject> {
  const open = () =>
    bandwidth.pieceBytes() === null ? body.open() : pacedPieces(body.open(), bandwidth, signal)
  const sending = digestedStream(open)
  const headers = { 'content-length': String(body.sizeBytes) }
  const put: Ask = { verb: 'put', method: 'PUT', ...id, headers, openBody: sending.open }
  try {
    const asked = await ask(put, signal)
    const md5 = sending.md5()
    await finishPut(asked, md5)
    return { sizeBytes: body.sizeBytes, md5 }
  } catch (error) {
    signal.throwIfAborted()
    throw sending.failure() ?? error
  } finally {
    await sending.close()
  }
}

/** Reads the answer to its end and compares digests. */
async function finishPut({ action, reply }: Asked, md5: string) {
  await textOf(reply)
  const stored = md5Of(reply.headers['etag'])
  if (stored === md5) return
  throw new AgentError(
    'UPLOAD_CORRUPT',
    `${describe(action)}: sent md5 ${md5}, swift stored ${stored ?? 'one it does not tell'}`,
    { ...action, sentMd5: md5, storedMd5: stored },
  )
}

function readable(pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Readable {
  return Readable.from(pieces, { objectMode: false })
}

/** A streamed body on its way: its digest, why it failed, and an end that can be waited for. */
function digestedStream(openBody: () => AsyncIterable<Uint8Array>) {
  let digest = createHash('md5')
  let failure: unknown = null
  let stream: Readable | null = null

  async function* pieces(own: ReturnType<typeof createHash>) {
    try {
      for await (const piece of openBody()) {
        own.update(piece)
        yield piece
      }
    } catch (error) {
      failure = error
      throw error
    }
  }
  const close = async () => {
    const closing = stream
    if (closing === null || closing.closed) return
    await new Promise((resolve) => closing.once('close', resolve).destroy())
  }
  return {
    open: async () => {
      await close() // The try before this one may still be reading.
      digest = createHash('md5')
      stream = readable(pieces(digest))
      stream.on('error', () => {}) // `failure` tells of it.
      return stream
    },
    md5: () => digest.digest('hex'),
    failure: () => failure,
    close,
  }
}
