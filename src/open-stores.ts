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
import { openIdentity } from './open-identity.ts'
import type { AccessSource, StoreAccess } from './ports/identity.ts'
import type { Log, SecretKeeper } from './ports/log.ts'
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

/** Throws CONFIGURATION_INVALID. */
export function openStores(
  config: Config,
  rates: StoreRates,
  log: Log,
  hide: SecretKeeper['addSecret'],
): Stores {
  const laneOptions = laneStoreOptions(config)
  const lane = openLaneStores(laneOptions, rates)
  const open = config.driver.kind === 'posix' ? openPosixStores : openSwiftStores
  const tell = ({ call, error, attemptNumber, waitMs }: StoreRetry) =>
    log.warn('store call failed, trying again', { call, error, attemptNumber, waitMs })
  return { ...open(config, lane, tell, hide), laneOptions }
}

type Opened = Omit<Stores, 'laneOptions'>
type Tell = (retry: StoreRetry) => void
type Hide = (secret: string) => void

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

function openSwiftStores(config: Config, lane: LaneStores, tell: Tell, hide: Hide): Opened {
  const { swift } = config
  const { identity, dispose } = openIdentity(config)
  const { url } = swift
  return {
    layout: swiftLayout(swift.container, config.availabilityZone),
    objectSizeBytes: swift.objectSizeBytes,
    blockSizeBytes: swift.blockSizeBytes,
    accessFor: (context, projectId) => hidden(identity.accessFor(context, projectId), hide),
    storeFor: (context, projectId) =>
      lane.storeFor(hidden(identity.accessFor(context, projectId), hide), tell),
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

/** The same, and every token of it is a secret from then on, our own beside the user's too. */
function hidden(source: AccessSource, hide: Hide): AccessSource {
  const noted = (access: StoreAccess): StoreAccess => {
    hide(access.token)
    if (access.serviceToken !== undefined) hide(access.serviceToken)
    return access
  }
  return {
    access: async (signal) => noted(await source.access(signal)),
    renew: async (refused, signal) => noted(await source.renew(refused, signal)),
  }
}
