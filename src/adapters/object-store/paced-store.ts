import { delay, monotonicMs } from '../../lib/clock.ts'
import type { ObjectStore } from '../../ports/object-store.ts'
import { wrapStore } from './wrap-store.ts'

/** Resolves when the next request may leave. */
export type Pace = (signal: AbortSignal) => Promise<void>

/** At most `perSecond` requests a second over all stores that share it, evenly spaced. */
export function requestPace(perSecond: number): Pace {
  let nextMs = monotonicMs()
  return async (signal) => {
    const atMs = Math.max(nextMs, monotonicMs())
    nextMs = atMs + 1000 / perSecond
    await delay(Math.max(0, atMs - monotonicMs()), signal)
  }
}

/** A store whose calls wait for their turn: `requests_max`. Goes inside `retryingStore`. */
export function pacedStore(store: ObjectStore, pace: Pace): ObjectStore {
  return wrapStore(store, async (_call, run, signal) => {
    await pace(signal)
    return run()
  })
}
