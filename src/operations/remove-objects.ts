import { AgentError, hasCode } from '../domain/errors.ts'
import { chunkNumber, namedNumbers } from '../engine/resume-backup.ts'
import type { WindowLog } from '../engine/window-log.ts'
import { delay } from '../lib/clock.ts'
import { mapOrdered } from '../lib/map-ordered.ts'
import type { ObjectEntry, ObjectStore } from '../ports/object-store.ts'

type Place = { readonly container: string; readonly objectPrefix: string }

// Measured on a small Swift, docs/decisions/0012: more at once is not faster.
const deletesMax = 32
const bulksMax = 8
const bulkNamesMax = 100

/** What a store says that does not know bulk deletes, or not these: one by one it may do. */
const bulkRefusals = [
  'STORE_REFUSED',
  'STORE_FORBIDDEN',
  'CONTAINER_NOT_FOUND',
  'OBJECT_NOT_FOUND',
  'OBJECT_TOO_LARGE',
] as const

/** A store whose listings lag is asked again this often before it is called unavailable. */
const roundsMax = 10
const roundMs = 500

/** The two objects that close a backup go last, so that a removal cut short can be seen and resumed. */
const closing = /_(metadata|sha256file)$/

/** Every object whose name starts with `prefix`, in name order, page after page. */
export async function* listObjects(
  store: ObjectStore,
  container: string,
  prefix: string,
  signal: AbortSignal,
): AsyncGenerator<ObjectEntry, void, undefined> {
  let after = ''
  while (true) {
    const page = await store.listPage(container, prefix, after, signal)
    const last = page.at(-1)
    if (last === undefined) return
    yield* page
    after = last.name
  }
}

/** Hears of objects that are gone, as they go. */
type OnRemoved = (count: number) => void

const heardByNobody: OnRemoved = () => undefined

/**
 * Removes every object of a prefix, and resolves to how many there were when a listing says that none
 * is left. Rejects with STORE_UNAVAILABLE where listings go on naming objects that are gone.
 */
export async function removeObjects(
  store: ObjectStore,
  { container, objectPrefix }: Place,
  signal: AbortSignal,
  onRemoved = heardByNobody,
): Promise<number> {
  let count = 0
  for (let round = 0; round < roundsMax; round += 1) {
    const removed = await removeListed(store, { container, objectPrefix }, onRemoved, signal)
    if (removed === 0) return count
    count += round === 0 ? removed : 0
    if (round > 0) await delay(roundMs, signal)
  }
  throw new AgentError(
    'STORE_UNAVAILABLE',
    `objects under ${container}/${objectPrefix} are still listed after ${roundsMax} removals: ask again later`,
    { container, objectPrefix },
  )
}

/**
 * Removes the chunks of a backup that its metadata will not name, and resolves to how many there were: a
 * store may finish or list late what an earlier start had sent when it was cut off, and stock Cinder
 * restores nothing where more is listed than the metadata names.
 */
export async function removeUnnamed(
  log: WindowLog,
  store: ObjectStore,
  signal: AbortSignal,
): Promise<number> {
  const { container, prefix } = log.layout
  const isNamed = await namedNumbers(log)
  let count = 0
  async function* unnamed(): AsyncGenerator<string, void, undefined> {
    for await (const { name } of listObjects(store, container, `${prefix}-`, signal)) {
      const number = chunkNumber(name, prefix)
      if (number !== null && isNamed(number)) continue
      count += 1
      yield name
    }
  }
  await removeNames(store, container, unnamed(), heardByNobody, signal)
  return count
}

async function removeListed(
  store: ObjectStore,
  { container, objectPrefix }: Place,
  onRemoved: OnRemoved,
  signal: AbortSignal,
): Promise<number> {
  const last: string[] = []
  let count = 0

  async function* dataObjects(): AsyncGenerator<string, void, undefined> {
    for await (const { name } of listObjects(store, container, objectPrefix, signal)) {
      count += 1
      if (closing.test(name)) last.push(name)
      else yield name
    }
  }

  await removeNames(store, container, dataObjects(), onRemoved, signal)
  for (const name of last) await store.deleteObject({ container, name }, signal)
  return count
}

/** Removes objects while their names come, many in one call where the store has such a call. */
async function removeNames(
  store: ObjectStore,
  container: string,
  names: AsyncIterable<string>,
  onRemoved: OnRemoved,
  signal: AbortSignal,
): Promise<void> {
  const removeOne = async (name: string, removeSignal: AbortSignal) => {
    await store.deleteObject({ container, name }, removeSignal)
    onRemoved(1)
  }
  const batchSize = Math.min(bulkNamesMax, await store.bulkDeletesMax(signal))
  if (batchSize <= 1) {
    for await (const _ of mapOrdered(names, deletesMax, signal, removeOne));
    return
  }
  let isBulkRefused = false
  const removeBatch = async (batch: readonly string[], removeSignal: AbortSignal) => {
    if (!isBulkRefused) {
      try {
        await store.deleteObjects(container, batch, removeSignal)
        onRemoved(batch.length)
        return
      } catch (error) {
        if (!bulkRefusals.some((code) => hasCode(error, code))) throw error
        isBulkRefused = true
      }
    }
    const each = mapOrdered(batch, deletesMax / bulksMax, removeSignal, removeOne)
    for await (const _ of each);
  }
  for await (const _ of mapOrdered(batches(names, batchSize), bulksMax, signal, removeBatch));
}

async function* batches(
  names: AsyncIterable<string>,
  size: number,
): AsyncGenerator<readonly string[], void, undefined> {
  let batch: string[] = []
  for await (const name of names) {
    if (batch.push(name) < size) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}
