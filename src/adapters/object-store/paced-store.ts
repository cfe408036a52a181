import type { SharedRate } from '../../lib/shared-rate.ts'
import type { ObjectStore } from '../../ports/object-store.ts'
import { wrapStore } from './wrap-store.ts'

/** A store whose calls wait for their turn: `requests_max`. Goes inside `retryingStore`. */
export function pacedStore(store: ObjectStore, requests: Pick<SharedRate, 'take'>): ObjectStore {
  return wrapStore(store, async (_call, run, signal) => {
    await requests.take(1, signal)
    return run()
  })
}
