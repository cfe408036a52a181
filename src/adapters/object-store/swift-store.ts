import { createHash, hash } from 'node:crypto'
import { Readable } from 'node:stream'

import { AgentError } from '../../domain/errors.ts'
import type { AccessSource } from '../../ports/identity.ts'
import type {
  ObjectEntry,
  ObjectId,
  ObjectSink,
  ObjectStore,
  StoredObject,
  StoreLimits,
  StreamedBody,
} from '../../ports/object-store.ts'
import { checkObjectName, containerParts } from './store-names.ts'
import { type Ask, type AskAccount, type Asked, swiftAccount } from './swift-account.ts'
import { describe, swiftError } from './swift-answers.ts'
import {
  openSwiftConnection,
  pour,
  type SwiftConnection,
  type SwiftConnectionOptions,
  textOf,
} from './swift-connection.ts'
import { defaultLimits, listingEntries, md5Of, statedLimits } from './swift-documents.ts'

export type SwiftOptions = SwiftConnectionOptions & {
  /** Whether a missing container may be made. */
  readonly createContainers: boolean
  /** Storage policy of a container that is made; null: the cluster's default. */
  readonly storagePolicy: string | null
  /** Entries in a page of a listing: 1,000. */
  readonly pageLimit?: number
}

/** The connections to Swift, shared by the stores of all jobs. */
export interface SwiftClient extends AsyncDisposable {
  /** The store as `access` sees it. */
  store(access: AccessSource): ObjectStore
}

// Given a whole body, TLS would encrypt all of it into new memory at once.
const tlsPieceBytes = 1024 * 1024
// Above a cluster's own limit, 10,000 by default, Swift refuses the request.
const pageLimitDefault = 1000
const listingBytesMax = 16 * 1024 * 1024

/** Throws CONFIGURATION_INVALID where the CA file cannot be read. */
export function openSwift(options: SwiftOptions): SwiftClient {
  const connection = openSwiftConnection(options)
  return {
    store: (access) => swiftStore(access, connection, options),
    [Symbol.asyncDispose]: () => connection[Symbol.asyncDispose](),
  }
}

function swiftStore(
  access: AccessSource,
  connection: SwiftConnection,
  options: SwiftOptions,
): ObjectStore {
  const { pageLimit = pageLimitDefault } = options
  const askAccount = swiftAccount(access, connection)
  const ask: AskAccount = async (wanted, signal, alsoFine) => {
    containerParts(wanted.container, { bytesMax: 256, mayNest: false })
    if (wanted.name !== null) checkObjectName({ ...wanted, name: wanted.name })
    return askAccount(wanted, signal, alsoFine)
  }

  return {
    limits: async (signal) => readLimits(await access.access(signal), connection, signal),
    ensureContainer: (container, signal) => ensureContainer(ask, container, options, signal),
    putObject: (id, body, signal) =>
      body instanceof Uint8Array
        ? putBytes(ask, id, body, signal)
        : putStream(ask, id, body, signal),
    getObject: (id, sink, signal) => getObject(ask, id, sink, signal),
    listPage: (container, prefix, after, signal) =>
      listPage(ask, container, { prefix, after, limit: pageLimit }, signal),
    deleteObject: async (id, signal) => {
      const asked = await ask({ verb: 'delete', method: 'DELETE', ...id }, signal, [404])
      await textOf(asked.action, asked.reply, signal)
    },
  }
}

/** Source: swift/proxy/controllers/info.py: asked at the root, without a token. */
async function readLimits(
  { url }: { readonly url: string },
  connection: SwiftConnection,
  signal: AbortSignal,
): Promise<StoreLimits> {
  const { origin } = new URL(url)
  const action = { verb: 'get', container: null, name: null, account: '/info' }
  const request = { method: 'GET', origin, path: '/info', headers: {}, body: null } as const
  const reply = await connection.send(action, request, signal)
  const text = await textOf(action, reply, signal)
  if (reply.status >= 500) throw swiftError(action, { ...reply, text })
  return reply.status === 200 ? statedLimits(text) : defaultLimits // Operators may hide it.
}

/** Source: cinder/backup/drivers/swift.py, put_container: HEAD first, PUT only where it is missing. */
async function ensureContainer(
  ask: AskAccount,
  container: string,
  { createContainers, storagePolicy }: SwiftOptions,
  signal: AbortSignal,
): Promise<void> {
  const check: Ask = { verb: 'check container', method: 'HEAD', container, name: null }
  const { action, reply } = await ask(check, signal, [404])
  await textOf(action, reply, signal)
  if (reply.status !== 404) return
  if (!createContainers) {
    throw new AgentError(
      'CONTAINER_NOT_FOUND',
      `${describe(action)}: swift answered 404; create it or set backup_create_containers`,
      { container },
    )
  }
  const headers = storagePolicy === null ? {} : { 'x-storage-policy': storagePolicy }
  const create: Ask = { ...check, verb: 'create container', method: 'PUT', headers }
  const created = await ask(create, signal)
  await textOf(created.action, created.reply, signal)
}

async function putBytes(
  ask: AskAccount,
  id: ObjectId,
  body: Uint8Array,
  signal: AbortSignal,
): Promise<StoredObject> {
  const md5 = hash('md5', body)
  const put: Ask = {
    verb: 'put',
    method: 'PUT',
    ...id,
    headers: { 'content-length': String(body.byteLength), etag: md5 },
    openBody: (origin) => (origin.startsWith('https:') ? inPieces(body) : body),
  }
  await finishPut(await ask(put, signal), md5, signal)
  return { sizeBytes: body.byteLength, md5 }
}

async function putStream(
  ask: AskAccount,
  id: ObjectId,
  body: StreamedBody,
  signal: AbortSignal,
): Promise<StoredObject> {
  const sending = digestedStream(body)
  const headers = { 'content-length': String(body.sizeBytes) }
  const put: Ask = { verb: 'put', method: 'PUT', ...id, headers, openBody: sending.open }
  try {
    const asked = await ask(put, signal)
    const md5 = sending.md5()
    await finishPut(asked, md5, signal)
    return { sizeBytes: body.sizeBytes, md5 }
  } catch (error) {
    signal.throwIfAborted()
    throw sending.failure() ?? error
  } finally {
    await sending.close()
  }
}

/** Reads the answer to its end and compares digests. */
async function finishPut({ action, reply }: Asked, md5: string, signal: AbortSignal) {
  await textOf(action, reply, signal)
  const stored = md5Of(reply.headers['etag'])
  if (stored === md5) return
  throw new AgentError(
    'UPLOAD_CORRUPT',
    `${describe(action)}: sent md5 ${md5}, swift stored ${stored ?? 'one it does not tell'}`,
    { ...action, sentMd5: md5, storedMd5: stored },
  )
}

async function getObject(
  ask: AskAccount,
  id: ObjectId,
  sink: ObjectSink,
  signal: AbortSignal,
): Promise<StoredObject> {
  const headers = { 'accept-encoding': 'identity' }
  const { action, reply } = await ask({ verb: 'get', method: 'GET', ...id, headers }, signal)
  try {
    await sink.start()
  } catch (error) {
    reply.body.destroy()
    throw error
  }
  const digest = createHash('md5')
  let sizeBytes = 0
  const take = (piece: Buffer) => {
    digest.update(piece)
    sizeBytes += piece.byteLength
    return sink.write(piece)
  }
  await pour(action, reply, take, signal)

  const md5 = digest.digest('hex')
  const announced = announcedBy(reply.headers)
  const corrupt = (what: string, context: Record<string, unknown>) =>
    new AgentError('DOWNLOAD_CORRUPT', `${describe(action)}: ${what}`, { ...action, ...context })
  if (announced.sizeBytes !== null && announced.sizeBytes !== sizeBytes) {
    throw corrupt(`swift announced ${announced.sizeBytes} bytes, ${sizeBytes} came`, { sizeBytes })
  }
  if (announced.md5 !== null && announced.md5 !== md5) {
    throw corrupt(`swift announced md5 ${announced.md5}, ${md5} came`, { md5 })
  }
  return { sizeBytes, md5 }
}

/** The ETag of a large object is no digest of its bytes. Source: swift/common/middleware/slo.py. */
function announcedBy(headers: Readonly<Record<string, string>>) {
  const length = headers['content-length'] ?? ''
  const isLarge = 'x-static-large-object' in headers || 'x-object-manifest' in headers
  return {
    sizeBytes: /^\d+$/.test(length) ? Number(length) : null,
    md5: isLarge ? null : md5Of(headers['etag']),
  }
}

async function listPage(
  ask: AskAccount,
  container: string,
  page: { readonly prefix: string; readonly after: string; readonly limit: number },
  signal: AbortSignal,
): Promise<readonly ObjectEntry[]> {
  const { prefix, after, limit } = page
  const query = new URLSearchParams({ format: 'json', limit: String(limit), prefix })
  if (after !== '') query.set('marker', after)
  const list: Ask = { verb: 'list', method: 'GET', container, name: null, query }
  const { action, reply } = await ask(list, signal, [404])
  const text = await textOf(action, reply, signal, listingBytesMax)
  if (reply.status === 404) return []

  const entries = listingEntries(text)
  const last = Buffer.from(after)
  const isOurs = ({ name }: ObjectEntry) =>
    name.startsWith(prefix) && Buffer.compare(Buffer.from(name), last) > 0
  if (entries?.every(isOurs)) return entries
  // Believing it could delete what belongs to others, or never come to an end.
  throw new AgentError(
    'STORE_UNAVAILABLE',
    `${describe(action)}: swift answered ${entries === null ? 'with no listing' : 'with names that were not asked for'}`,
    { container, prefix, after },
  )
}

function inPieces(body: Uint8Array): Readable {
  function* pieces() {
    for (let start = 0; start < body.byteLength; start += tlsPieceBytes) {
      yield body.subarray(start, start + tlsPieceBytes)
    }
  }
  return Readable.from(pieces(), { objectMode: false })
}

/** A streamed body on its way: its digest, why it failed, and an end that can be waited for. */
function digestedStream(body: StreamedBody) {
  let digest = createHash('md5')
  let failure: unknown = null
  let stream: Readable | null = null

  async function* pieces(own: ReturnType<typeof createHash>) {
    try {
      for await (const piece of body.open()) {
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
      stream = Readable.from(pieces(digest), { objectMode: false })
      stream.on('error', () => {}) // `failure` tells of it.
      return stream
    },
    md5: () => digest.digest('hex'),
    failure: () => failure,
    close,
  }
}
