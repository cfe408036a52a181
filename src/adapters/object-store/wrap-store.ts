import type { ObjectStore } from '../../ports/object-store.ts'

/** What is being asked of the store: for messages and counts. */
export type StoreCall = {
  readonly method: keyof ObjectStore
  readonly container: string | null
  readonly name: string | null
}

export type Around = <T>(call: StoreCall, run: () => Promise<T>, signal: AbortSignal) => Promise<T>

/** A store that runs every call through `around`: the one place that lists the methods again. */
export function wrapStore(store: ObjectStore, around: Around): ObjectStore {
  return {
    limits: (signal) =>
      around({ method: 'limits', container: null, name: null }, () => store.limits(signal), signal),
    ensureContainer: (container, signal) =>
      around(
        { method: 'ensureContainer', container, name: null },
        () => store.ensureContainer(container, signal),
        signal,
      ),
    putObject: (id, body, signal) =>
      around({ method: 'putObject', ...id }, () => store.putObject(id, body, signal), signal),
    getObject: (id, sink, signal) =>
      around({ method: 'getObject', ...id }, () => store.getObject(id, sink, signal), signal),
    getUndigested: (id, sink, signal, part) =>
      around(
        { method: 'getUndigested', ...id },
        () => store.getUndigested(id, sink, signal, part),
        signal,
      ),
    listPage: (container, prefix, after, signal) =>
      around(
        { method: 'listPage', container, name: prefix },
        () => store.listPage(container, prefix, after, signal),
        signal,
      ),
    deleteObject: (id, signal) =>
      around({ method: 'deleteObject', ...id }, () => store.deleteObject(id, signal), signal),
    bulkDeletesMax: (signal) =>
      around(
        { method: 'bulkDeletesMax', container: null, name: null },
        () => store.bulkDeletesMax(signal),
        signal,
      ),
    deleteObjects: (container, names, signal) =>
      around(
        { method: 'deleteObjects', container, name: names[0] ?? null },
        () => store.deleteObjects(container, names, signal),
        signal,
      ),
  }
}
