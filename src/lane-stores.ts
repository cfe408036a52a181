// The store as one thread has it: built from plain data, so that every lane builds its own.

import { randomUUID } from 'node:crypto'

import { bandwidthOf } from './adapters/object-store/bandwidth.ts'
import { pacedStore } from './adapters/object-store/paced-store.ts'
import { type PosixOptions, posixStore } from './adapters/object-store/posix-store.ts'
import { retryingStore, type StoreRetry } from './adapters/object-store/retrying-store.ts'
import { openSwift, type SwiftOptions } from './adapters/object-store/swift-store.ts'
import type { Config } from './config.ts'
import { type SharedRate, sharedRate, sharedRateOf } from './lib/shared-rate.ts'
import type { AccessSource } from './ports/identity.ts'
import type { ObjectStore } from './ports/object-store.ts'

/** What a thread needs to build its stores: plain data that may be sent to it. */
export type LaneStoreOptions = {
  readonly store:
    | ({ readonly kind: 'posix' } & PosixOptions)
    | ({ readonly kind: 'swift' } & SwiftOptions)
  readonly retry: {
    readonly attemptsMin: number
    readonly backoffMs: number
    readonly budgetMs: number
  }
}

/** `requests_max` and `bandwidth_max`: kept over all threads together, and changed while they run. */
export type StoreRates = { readonly requests: SharedRate; readonly bandwidth: SharedRate }

/** The memory of the rates, for the threads. */
export type SharedStoreRates = { readonly [K in keyof StoreRates]: SharedArrayBuffer }

export type LaneStores = AsyncDisposable & {
  /** The store with `access`, retrying, its rates kept; `onRetry` is told before each further try. */
  storeFor(access: AccessSource | null, onRetry: (retry: StoreRetry) => void): ObjectStore
  /** The same for one try, whatever the rates: for probes. */
  bareStoreFor(access: AccessSource | null): ObjectStore
}

/** Source: swiftclient has none; a proxy that takes longer is treated as gone (fault row 29). */
const connectMs = 10_000
const idleMs = 60_000

/**
 * To be made once for an agent: all its threads must write under one name, or each would take the
 * unfinished files of the others for left-overs.
 */
export function laneStoreOptions({
  driver,
  host,
  posix,
  swift,
  backups,
  retry,
}: Config): LaneStoreOptions {
  return {
    store:
      driver.kind === 'posix'
        ? { kind: 'posix', root: posix.path, writer: { host, run: randomUUID() } }
        : {
            kind: 'swift',
            caFile: swift.caFile,
            insecure: swift.isInsecure,
            connectMs,
            idleMs,
            createContainers: backups.createContainers,
            storagePolicy: swift.storagePolicy,
          },
    retry: {
      attemptsMin: retry.attemptsMax,
      backoffMs: retry.backoffMs,
      budgetMs: retry.budgetMs,
    },
  }
}

export function storeRates({ limits }: Config): StoreRates {
  return {
    requests: sharedRate(limits.requestsPerSecondMax),
    bandwidth: sharedRate(limits.bytesPerSecondMax),
  }
}

export function sharedStoreRates({ requests, bandwidth }: StoreRates): SharedStoreRates {
  return { requests: requests.shared, bandwidth: bandwidth.shared }
}

/** The same rates in another thread. */
export function storeRatesOf({ requests, bandwidth }: SharedStoreRates): StoreRates {
  return { requests: sharedRateOf(requests), bandwidth: sharedRateOf(bandwidth) }
}

/** Throws CONFIGURATION_INVALID where the CA file cannot be read. */
export function openLaneStores(
  { store: options, retry }: LaneStoreOptions,
  { requests, bandwidth }: StoreRates,
): LaneStores {
  const wrapped = (store: ObjectStore, onRetry: (retry: StoreRetry) => void) =>
    retryingStore(pacedStore(store, requests), { ...retry, onRetry })
  if (options.kind === 'posix') {
    const bare = posixStore(options, bandwidthOf(bandwidth))
    return {
      storeFor: (_access, onRetry) => wrapped(bare, onRetry),
      bareStoreFor: () => bare,
      async [Symbol.asyncDispose]() {},
    }
  }
  const client = openSwift(options, bandwidthOf(bandwidth))
  const bareStoreFor = (access: AccessSource | null) => {
    if (access === null) throw new Error('swift is not asked without access')
    return client.store(access)
  }
  return {
    bareStoreFor,
    storeFor: (access, onRetry) => wrapped(bareStoreFor(access), onRetry),
    [Symbol.asyncDispose]: () => client[Symbol.asyncDispose](),
  }
}
