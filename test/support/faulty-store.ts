import { wrapStore } from '#src/adapters/object-store/wrap-store.ts'
import type { AgentError } from '#src/domain/errors.ts'
import type { ObjectStore } from '#src/ports/object-store.ts'

export type FaultyStore = {
  readonly store: ObjectStore
  /** The next `times` calls of `method` reject with `error` and do nothing. */
  readonly fail: (method: keyof ObjectStore, error: AgentError, times: number) => void
  /** What was told to fail and has not yet: a test asserts that nothing is left. */
  readonly unfired: () => readonly string[]
  /** How often each method was called, failures included. */
  readonly calls: (method: keyof ObjectStore) => number
}

/** A store that fails when told to. */
export function faultyStore(store: ObjectStore): FaultyStore {
  const faults: { method: keyof ObjectStore; error: AgentError; left: number }[] = []
  const counts = new Map<keyof ObjectStore, number>()
  return {
    store: wrapStore(store, async ({ method }, run) => {
      counts.set(method, (counts.get(method) ?? 0) + 1)
      const fault = faults.find((one) => one.method === method && one.left > 0)
      if (fault === undefined) return run()
      fault.left -= 1
      throw fault.error
    }),
    fail: (method, error, times) => faults.push({ method, error, left: times }),
    unfired: () =>
      faults.filter(({ left }) => left > 0).map(({ method, error }) => `${method}: ${error.code}`),
    calls: (method) => counts.get(method) ?? 0,
  }
}
