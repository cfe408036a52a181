import { AgentError } from '../../domain/errors.ts'
import type { AccessSource } from '../../ports/identity.ts'
import type { ObjectEntry, ObjectStore } from '../../ports/object-store.ts'
import { type Bandwidth, pacedSink, unlimited } from './bandwidth.ts'
import { isWhole } from './store-bodies.ts'
import { checkListPrefix, checkObjectName, containerParts } from './store-names.ts'
import { type Ask, type AskAccount, type Asked, swiftAccount } from './swift-account.ts'
import { describe, isPassing, swiftError } from './swift-answers.ts'
import { deleteInBulk } from './swift-bulk.ts'
import type { SwiftConnectionOptions } from './swift-connection.ts'
import {
  defaultLimits,
  listingEntries,
  statedBulkDeletes,
  statedLimits,
} from './swift-documents.ts'
import { type SwiftConnection, textOf } from './swift-exchange.ts'
import { openSwiftFetch } from './swift-fetch.ts'
import { getObject, getUndigested } from './swift-get.ts'
import { lazyConnection } from './swift-lazy-connection.ts'
import { digested, putBytes, putStream } from './swift-put.ts'
import { trusted } from './swift-trust.ts'

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

// Above a cluster's own limit, 10,000 by default, Swift refuses the request.
const pageLimitDefault = 1000
const listingBytesMax = 16 * 1024 * 1024

/** What the stores of a client share. */
type Client = {
  readonly options: SwiftOptions
  readonly bandwidth: Bandwidth
  readonly connection: SwiftConnection
  /** The same for GETs and PUTs of objects. */
  readonly fetching: SwiftConnection
  /** Bulk deletes that a cluster takes at once, by its origin, once it said so. */
  readonly bulkDeletes: Map<string, number>
}

/** Throws CONFIGURATION_INVALID where the CA file cannot be read. */
export function openSwift(options: SwiftOptions, bandwidth: Bandwidth = unlimited): SwiftClient {
  if (options.caFile !== null) trusted(options.caFile) // A bad file is the operator's to know at the start.
  const connection = lazyConnection(options)
  const fetching = openSwiftFetch(options, connection)
  const client = { options, bandwidth, connection, fetching, bulkDeletes: new Map() }
  return {
    store: (access) => swiftStore(access, client),
    [Symbol.asyncDispose]: async () => {
      await fetching[Symbol.asyncDispose]()
      await connection[Symbol.asyncDispose]()
    },
  }
}

function swiftStore(access: AccessSource, client: Client): ObjectStore {
  const { options, bandwidth, connection, fetching } = client
  const { pageLimit = pageLimitDefault } = options
  const checked =
    (askAccount: AskAccount): AskAccount =>
    async (wanted, signal, alsoFine) => {
      checkNames(wanted.container, wanted.name === null ? [] : [wanted.name])
      return askAccount(wanted, signal, alsoFine)
    }
  const ask = checked(swiftAccount(access, connection))
  const fetch = checked(swiftAccount(access, fetching))

  return {
    limits: async (signal) => {
      const text = await readInfo(await access.access(signal), connection, signal)
      return text === null ? defaultLimits : statedLimits(text)
    },
    ensureContainer: (container, signal) => ensureContainer(ask, container, options, signal),
    putObject: (id, body, signal) => {
      if (!isWhole(body)) return putStream(ask, id, body, bandwidth, signal)
      const whole = body instanceof Uint8Array ? digested(body) : body
      return putBytes(fetch, id, whole, bandwidth, signal)
    },
    getObject: (id, sink, signal) =>
      getObject(fetch, id, pacedSink(sink, bandwidth, signal), signal),
    getUndigested: (id, sink, signal, part = null) =>
      getUndigested(fetch, id, part, pacedSink(sink, bandwidth, signal), signal),
    listPage: (container, prefix, after, signal) =>
      listPage(ask, container, { prefix, after, limit: pageLimit }, signal),
    deleteObject: async (id, signal) => {
      const asked = await ask({ verb: 'delete', method: 'DELETE', ...id }, signal, [404])
      await textOf(asked.reply)
    },
    bulkDeletesMax: (signal) => bulkDeletesMax(access, client, signal),
    deleteObjects: async (container, names, signal) => {
      checkNames(container, names)
      const renew = (asked: Asked) => access.renew(asked.access, signal)
      await deleteInBulk({ ask, renew }, container, names, signal)
    },
  }
}

function checkNames(container: string, names: readonly string[]): void {
  containerParts(container, { bytesMax: 256, mayNest: false })
  for (const name of names) checkObjectName({ container, name })
}

async function bulkDeletesMax(
  source: AccessSource,
  { connection, bulkDeletes }: Client,
  signal: AbortSignal,
): Promise<number> {
  const access = await source.access(signal)
  const { origin } = new URL(access.url)
  const known = bulkDeletes.get(origin)
  if (known !== undefined) return known
  const text = await readInfo(access, connection, signal)
  const stated = text === null ? 0 : statedBulkDeletes(text)
  bulkDeletes.set(origin, stated)
  return stated
}

/**
 * What the cluster says of itself; null where it hides it.
 * Source: swift/proxy/controllers/info.py: asked at the root, without a token.
 */
async function readInfo(
  { url }: { readonly url: string },
  connection: SwiftConnection,
  signal: AbortSignal,
): Promise<string | null> {
  const { origin } = new URL(url)
  const action = { verb: 'get', container: null, name: null, account: '/info' }
  const request = { method: 'GET', origin, path: '/info', headers: {}, body: null } as const
  const reply = await connection.send(action, request, signal)
  const text = await textOf(reply)
  if (isPassing(reply.status)) throw swiftError(action, { ...reply, text })
  return reply.status === 200 ? text : null
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
  await textOf(reply)
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
  await textOf(created.reply)
}

async function listPage(
  ask: AskAccount,
  container: string,
  page: { readonly prefix: string; readonly after: string; readonly limit: number },
  signal: AbortSignal,
): Promise<readonly ObjectEntry[]> {
  const { prefix, after, limit } = page
  checkListPrefix(container, prefix)
  const query = new URLSearchParams({ format: 'json', limit: String(limit), prefix })
  if (after !== '') query.set('marker', after)
  const list: Ask = { verb: 'list', method: 'GET', container, name: null, query }
  const { action, reply } = await ask(list, signal, [404])
  const text = await textOf(reply, listingBytesMax)
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
