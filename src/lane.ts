// The composition root of a lane: a thread that does whole chunks. It builds its own store and volume
// from plain data, and knows neither the bus, nor the journal, nor identities.

import { flushCompileCache } from 'node:module'
import { performance } from 'node:perf_hooks'
import { parentPort, workerData } from 'node:worker_threads'

import { loadAccelerator } from './adapters/accelerator/native-accelerator.ts'
import { laneWork } from './adapters/lanes/lane-work.ts'
import { sharedReader, sharedWriter } from './adapters/volumes/shared-volume.ts'
import { laneTools } from './engine/lane-tools.ts'
import { restoreExtent } from './engine/restore-chunk.ts'
import { storeWindow } from './engine/store-window.ts'
import {
  type LaneStoreOptions,
  openLaneStores,
  type SharedStoreRates,
  storeRatesOf,
} from './lane-stores.ts'

/** What the main thread hands to each of its lanes. */
export type LaneData = { readonly stores: LaneStoreOptions; readonly rates: SharedStoreRates }

const throttleStatuses: readonly unknown[] = [429, 498]

function runLane({ stores, rates }: LaneData, port: NonNullable<typeof parentPort>): void {
  const { accelerator } = loadAccelerator()
  const tools = laneTools(accelerator)
  const opened = openLaneStores(stores, storeRatesOf(rates))
  let seen = performance.eventLoopUtilization()
  laneWork(port, {
    openStore: (access, onRetry) =>
      opened.storeFor(access, ({ call, error, attemptNumber, waitMs }) => {
        const { message = String(error), context = {} } = error as {
          message?: string
          context?: Record<string, unknown>
        }
        onRetry({
          fields: { call, error: message, attemptNumber, waitMs },
          isThrottled: throttleStatuses.includes(context['status']),
        })
      }),
    openReader: (shared) => sharedReader(shared, accelerator),
    openWriter: (shared) => sharedWriter(shared, accelerator),
    storeWindow: (task, bench, signal) => storeWindow(task, { ...bench, tools }, signal),
    restoreExtent: (task, bench, signal) => restoreExtent(task, { ...bench, tools }, signal),
    rest: () => tools.buffers.rest(),
    idleShare() {
      const now = performance.eventLoopUtilization()
      const { utilization } = performance.eventLoopUtilization(now, seen)
      seen = now
      return 1 - utilization
    },
  })
}

if (parentPort !== null) {
  runLane(workerData as LaneData, parentPort)
  flushCompileCache() // Who is killed writes nothing at its end.
}
