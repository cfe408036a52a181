import { randomUUID } from 'node:crypto'

import { identityHttp } from './adapters/identity/identity-http.ts'
import { perUserIdentity } from './adapters/identity/per-user-identity.ts'
import {
  keystoneIdentity,
  type SingleUserIdentity,
  tempauthIdentity,
} from './adapters/identity/single-user-identity.ts'
import { keystoneTokenCheck, type TokenCheck } from './adapters/identity/validate-token.ts'
import { pacedStore, requestPace } from './adapters/object-store/paced-store.ts'
import { posixStore } from './adapters/object-store/posix-store.ts'
import { retryingStore } from './adapters/object-store/retrying-store.ts'
import { openSwift } from './adapters/object-store/swift-store.ts'
import type { Config } from './config.ts'
import type { RequestContext } from './domain/request-context.ts'
import { posixLayout, type StoreLayout, swiftLayout } from './domain/store-layout.ts'
import type { Identity } from './ports/identity.ts'
import type { Log } from './ports/log.ts'
import type { ObjectStore } from './ports/object-store.ts'

/** The configured store, as operations need it. */
export type Stores = AsyncDisposable & {
  readonly layout: StoreLayout
  readonly objectSizeBytes: number
  readonly blockSizeBytes: number
  /** The store with the credentials for one operation. Throws where there are none. */
  storeFor(context: RequestContext, projectId: string | null): ObjectStore
  /** Asks the store for its limits, without anybody's token. Null where it cannot be asked so. */
  readonly probe: ((signal: AbortSignal) => Promise<unknown>) | null
}

/** Source: swiftclient has none; a proxy that takes longer is treated as gone (fault row 29). */
const connectMs = 10_000
const idleMs = 60_000
const identityMs = 60_000

/** Throws CONFIGURATION_INVALID. */
export function openStores(config: Config, log: Log): Stores {
  const pace = config.limits.requestsPerSecondMax
  const paced = pace === 0 ? (store: ObjectStore) => store : pacing(pace)
  const retrying = (store: ObjectStore) =>
    retryingStore(paced(store), {
      attemptsMin: config.retry.attemptsMax,
      backoffMs: config.retry.backoffMs,
      budgetMs: config.retry.budgetMs,
      onRetry: ({ call, error, attemptNumber, waitMs }) =>
        log.warn('store call failed, trying again', { call, error, attemptNumber, waitMs }),
    })
  return config.driver.kind === 'posix'
    ? openPosixStores(config, retrying)
    : openSwiftStores(config, retrying)
}

type Wrap = (store: ObjectStore) => ObjectStore

function pacing(perSecond: number): Wrap {
  const pace = requestPace(perSecond) // One for all stores: the limit is the agent's.
  return (store) => pacedStore(store, pace)
}

function openPosixStores({ posix, host }: Config, wrap: Wrap): Stores {
  const { path: root, container, objectSizeBytes, blockSizeBytes } = posix
  const store = wrap(posixStore({ root, writer: { host, run: randomUUID() } }))
  return {
    layout: posixLayout(container),
    objectSizeBytes,
    blockSizeBytes,
    storeFor: () => store,
    probe: (signal) => store.limits(signal),
    async [Symbol.asyncDispose]() {},
  }
}

function openSwiftStores(config: Config, wrap: Wrap): Stores {
  const { swift, backups } = config
  const client = openSwift({
    caFile: swift.caFile,
    insecure: swift.isInsecure,
    connectMs,
    idleMs,
    createContainers: backups.createContainers,
    storagePolicy: swift.storagePolicy,
  })
  const { identity, dispose } = openIdentity(config)
  const { url } = swift
  return {
    layout: swiftLayout(swift.container, config.availabilityZone),
    objectSizeBytes: swift.objectSizeBytes,
    blockSizeBytes: swift.blockSizeBytes,
    storeFor: (context, projectId) => wrap(client.store(identity.accessFor(context, projectId))),
    probe:
      url === null
        ? null
        : (signal) => {
            const access = { url, token: '' } // What is asked for needs none.
            const source = { access: async () => access, renew: async () => access }
            return client.store(source).limits(signal)
          },
    async [Symbol.asyncDispose]() {
      await dispose()
      await client[Symbol.asyncDispose]()
    },
  }
}

/** Who is asked about a request's token before it is used; null: Swift alone judges (D14). */
function tokenCheck({ identity, swift }: Config): TokenCheck | null {
  if (!identity.validateTokens || identity.keystone === null) return null
  const { authUrl, caFile, isInsecure } = identity.keystone
  const trust = { caFile: caFile ?? swift.caFile, insecure: isInsecure }
  return keystoneTokenCheck(authUrl, identityHttp({ ...trust, requestMs: identityMs }))
}

function openIdentity(config: Config): { identity: Identity; dispose: () => Promise<void> } {
  const { swift, identity: options } = config
  const shared = { region: swift.regionName, allowedEndpoints: options.allowedEndpoints }
  if (swift.auth === 'per_user') {
    const identity = perUserIdentity({
      ...shared,
      storageUrl: swift.url,
      catalogInfo: swift.catalogInfo,
      checkToken: tokenCheck(config),
    })
    return { identity, dispose: async () => undefined }
  }
  const user = swift.singleUser
  const login = {
    ...shared,
    authUrl: user.authUrl,
    catalogInfo: user.keystoneCatalogInfo,
    caFile: swift.caFile,
    insecure: swift.isInsecure,
    requestMs: identityMs,
    user: user.userName,
    key: user.password,
  }
  const identity: SingleUserIdentity =
    user.authVersion === 1
      ? tempauthIdentity(login)
      : keystoneIdentity({
          ...login,
          userDomain: user.userDomainName,
          projectDomain: user.projectDomainName,
          project: user.projectName,
        })
  return { identity, dispose: () => Promise.resolve(identity[Symbol.asyncDispose]()) }
}
