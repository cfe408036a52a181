import { identityHttp } from './adapters/identity/identity-http.ts'
import { perUserIdentity } from './adapters/identity/per-user-identity.ts'
import {
  keystoneIdentity,
  type SingleUserIdentity,
  tempauthIdentity,
} from './adapters/identity/single-user-identity.ts'
import { keystoneTokenCheck, type TokenCheck } from './adapters/identity/validate-token.ts'
import type { StoreRetry } from './adapters/object-store/retrying-store.ts'
import type { Config } from './config.ts'
import type { RequestContext } from './domain/request-context.ts'
import { posixLayout, type StoreLayout, swiftLayout } from './domain/store-layout.ts'
import {
  type LaneStoreOptions,
  type LaneStores,
  laneStoreOptions,
  openLaneStores,
  type StoreRates,
} from './lane-stores.ts'
import type { AccessSource, Identity } from './ports/identity.ts'
import type { Log } from './ports/log.ts'
import type { ObjectStore } from './ports/object-store.ts'

/** The configured store, as operations need it. */
export type Stores = AsyncDisposable & {
  readonly layout: StoreLayout
  readonly objectSizeBytes: number
  readonly blockSizeBytes: number
  /** From which a lane builds its own stores of the same kind. */
  readonly laneOptions: LaneStoreOptions
  /**
   * The credentials for one operation, for stores in other threads; null where the store needs none.
   * Throws where there are none.
   */
  accessFor(context: RequestContext, projectId: string | null): AccessSource | null
  /** The store with the credentials for one operation. Throws where there are none. */
  storeFor(context: RequestContext, projectId: string | null): ObjectStore
  /** Asks the store for its limits, without anybody's token. Null where it cannot be asked so. */
  readonly probe: ((signal: AbortSignal) => Promise<unknown>) | null
}

const identityMs = 60_000

/** Throws CONFIGURATION_INVALID. */
export function openStores(config: Config, rates: StoreRates, log: Log): Stores {
  const laneOptions = laneStoreOptions(config)
  const lane = openLaneStores(laneOptions, rates)
  const open = config.driver.kind === 'posix' ? openPosixStores : openSwiftStores
  const tell = ({ call, error, attemptNumber, waitMs }: StoreRetry) =>
    log.warn('store call failed, trying again', { call, error, attemptNumber, waitMs })
  return { ...open(config, lane, tell), laneOptions }
}

type Opened = Omit<Stores, 'laneOptions'>
type Tell = (retry: StoreRetry) => void

function openPosixStores({ posix }: Config, lane: LaneStores, tell: Tell): Opened {
  const { container, objectSizeBytes, blockSizeBytes } = posix
  return {
    layout: posixLayout(container),
    objectSizeBytes,
    blockSizeBytes,
    accessFor: () => null,
    storeFor: () => lane.storeFor(null, tell),
    probe: (signal) => lane.bareStoreFor(null).limits(signal),
    [Symbol.asyncDispose]: () => lane[Symbol.asyncDispose](),
  }
}

function openSwiftStores(config: Config, lane: LaneStores, tell: Tell): Opened {
  const { swift } = config
  const { identity, dispose } = openIdentity(config)
  const { url } = swift
  return {
    layout: swiftLayout(swift.container, config.availabilityZone),
    objectSizeBytes: swift.objectSizeBytes,
    blockSizeBytes: swift.blockSizeBytes,
    accessFor: (context, projectId) => identity.accessFor(context, projectId),
    storeFor: (context, projectId) => lane.storeFor(identity.accessFor(context, projectId), tell),
    probe:
      url === null
        ? null
        : (signal) => {
            const access = { url, token: '' } // What is asked for needs none.
            const source = { access: async () => access, renew: async () => access }
            return lane.bareStoreFor(source).limits(signal)
          },
    async [Symbol.asyncDispose]() {
      await dispose()
      await lane[Symbol.asyncDispose]()
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
