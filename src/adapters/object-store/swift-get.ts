import { createHash } from 'node:crypto'

import { AgentError } from '../../domain/errors.ts'
import type { Extent } from '../../domain/extents.ts'
import type { ObjectId, ObjectSink, StoredObject } from '../../ports/object-store.ts'
import type { AskAccount, Asked } from './swift-account.ts'
import { describe, type SwiftAction } from './swift-answers.ts'
import { md5Of } from './swift-documents.ts'

export async function getObject(
  ask: AskAccount,
  id: ObjectId,
  sink: ObjectSink,
  signal: AbortSignal,
): Promise<StoredObject> {
  const digest = createHash('md5')
  const digesting: ObjectSink = {
    start: () => sink.start(),
    write: (piece) => {
      digest.update(piece)
      return sink.write(piece)
    },
  }
  const { asked, sizeBytes } = await receive(ask, id, digesting, signal)
  const { action, reply } = asked
  const md5 = digest.digest('hex')
  const announced = announcedMd5(reply.headers)
  if (announced !== null && announced !== md5) {
    throw corrupt(action, `swift announced md5 ${announced}, ${md5} came`, { md5 })
  }
  return { sizeBytes, md5 }
}

/** The same without a digest; with `part`, those bytes alone. */
export async function getUndigested(
  ask: AskAccount,
  id: ObjectId,
  part: Extent | null,
  sink: ObjectSink,
  signal: AbortSignal,
): Promise<number> {
  return (await receive(ask, id, sink, signal, part)).sizeBytes
}

/** Pours the object into `sink`, as many bytes as were announced. */
async function receive(
  ask: AskAccount,
  id: ObjectId,
  sink: ObjectSink,
  signal: AbortSignal,
  part: Extent | null = null,
): Promise<{ readonly asked: Asked; readonly sizeBytes: number }> {
  const headers = { 'accept-encoding': 'identity', ...(part === null ? {} : rangeOf(part)) }
  const asked = await ask(
    { verb: 'get', method: 'GET', ...id, headers },
    signal,
    part === null ? [] : [416],
  )
  const { action, reply } = asked
  if (part !== null) checkPart(asked, part)
  try {
    await sink.start()
  } catch (error) {
    reply.drop()
    throw error
  }
  let sizeBytes = 0
  await reply.pour((piece) => {
    sizeBytes += piece.byteLength
    return sink.write(piece)
  })
  const length = reply.headers['content-length'] ?? ''
  if (/^\d+$/.test(length) && Number(length) !== sizeBytes) {
    throw corrupt(action, `swift announced ${length} bytes, ${sizeBytes} came`, { sizeBytes })
  }
  return { asked, sizeBytes }
}

/** Source: RFC 9110, 14.1.2: both ends are included. */
function rangeOf({ offsetBytes, lengthBytes }: Extent) {
  return { range: `bytes=${offsetBytes}-${offsetBytes + lengthBytes - 1}` }
}

/** Throws unless the answer is the part that was asked for. */
function checkPart({ action, reply }: Asked, { offsetBytes, lengthBytes }: Extent): void {
  const { status, headers } = reply
  const length = Number(headers['content-length'])
  const range = headers['content-range'] ?? ''
  const isPart = range.startsWith(`bytes ${offsetBytes}-${offsetBytes + lengthBytes - 1}/`)
  if (status === 206 && isPart && length === lengthBytes) return
  reply.drop()
  if (status === 200) {
    const what = `${describe(action)}: swift answered with all of it where a part was asked for`
    throw new AgentError('STORE_REFUSED', what, { ...action })
  }
  const wanted = `${lengthBytes} bytes at offset ${offsetBytes}`
  throw corrupt(action, `swift has not the ${wanted}, it answered ${status}`, { status })
}

/** The ETag of a large object is no digest of its bytes. Source: swift/common/middleware/slo.py. */
function announcedMd5(headers: Readonly<Record<string, string>>): string | null {
  const isLarge = 'x-static-large-object' in headers || 'x-object-manifest' in headers
  return isLarge ? null : md5Of(headers['etag'])
}

function corrupt(action: SwiftAction, what: string, context: Record<string, unknown>): AgentError {
  return new AgentError('DOWNLOAD_CORRUPT', `${describe(action)}: ${what}`, {
    ...action,
    ...context,
  })
}
