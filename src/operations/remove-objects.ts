import { AgentError } from '../domain/errors.ts'
import { delay } from '../lib/clock.ts'
import { mapOrdered } from '../lib/map-ordered.ts'
import type { ObjectEntry, ObjectStore } from '../ports/object-store.ts'

type Place = { readonly container: string; readonly objectPrefix: string }

const deletesMax = 16

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

/**
 * Removes every object of a prefix, and resolves to how many there were when a listing says that none
 * is left. Rejects with STORE_UNAVAILABLE where listings go on naming objects that are gone.
 */
export async function removeObjects(
  store: ObjectStore,
  { container, objectPrefix }: Place,
  signal: AbortSignal,
): Promise<number> {
  let count = 0
  for (let round = 0; round < roundsMax; round += 1) {
    const removed = await removeListed(store, { container, objectPrefix }, signal)
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
 * Removes the chunks of a prefix with a number beyond `chunkCount`, and resolves to how many there
 * were: a store may finish or list late what an earlier start had sent when it was cut off, and stock
 * Cinder restores nothing where more is listed than the metadata names.
 */
export async function removeChunksBeyond(
  chunkCount: number,
  store: ObjectStore,
  { container, objectPrefix }: Place,
  signal: AbortSignal,
): Promise<number> {
  let count = 0
  for await (const { name } of listObjects(store, container, `${objectPrefix}-`, signal)) {
    if (Number(name.slice(objectPrefix.length + 1)) <= chunkCount) continue
    await store.deleteObject({ container, name }, signal)
    count += 1
  }
  return count
}

async function removeListed(
  store: ObjectStore,
  { container, objectPrefix }: Place,
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

  const remove = (name: string, removeSignal: AbortSignal) =>
    store.deleteObject({ container, name }, removeSignal)
  for await (const _ of mapOrdered(dataObjects(), deletesMax, signal, remove));
  for (const name of last) await remove(name, signal)
  return count
}
