import assert from 'node:assert/strict'
import { test } from 'node:test'

import { memoryStore } from '#src/adapters/object-store/memory-store.ts'
import { wrapStore } from '#src/adapters/object-store/wrap-store.ts'
import { AgentError } from '#src/domain/errors.ts'
import { removeObjects } from '#src/operations/remove-objects.ts'
import type { ObjectStore } from '#src/ports/object-store.ts'

const signal = AbortSignal.timeout(30_000)
const place = { container: 'c', objectPrefix: 'p' }

async function storeWith(names: readonly string[]): Promise<ObjectStore> {
  const store = memoryStore()
  await store.ensureContainer('c', signal)
  for (const name of names)
    await store.putObject({ container: 'c', name }, Buffer.from('x'), signal)
  return store
}

async function namesIn(store: ObjectStore): Promise<string[]> {
  return (await store.listPage('c', '', '', signal)).map(({ name }) => name)
}

test('every object of the prefix goes, those of others stay', async () => {
  const store = await storeWith(['p-00001', 'p-00002', 'p_metadata', 'p_sha256file', 'q-00001'])

  assert.equal(await removeObjects(store, place, signal), 4)

  assert.deepEqual(await namesIn(store), ['q-00001'])
})

test('a container that is not there has nothing to remove', async () => {
  assert.equal(await removeObjects(memoryStore(), place, signal), 0)
})

test('the metadata object goes last, so that a removal cut short can be resumed', async () => {
  const order: string[] = []
  const inner = await storeWith(['p-00001', 'p_metadata', 'p_sha256file', 'p-99999'])
  const store: ObjectStore = {
    ...inner,
    deleteObject(id, deleteSignal) {
      order.push(id.name)
      return inner.deleteObject(id, deleteSignal)
    },
  }

  await removeObjects(store, place, signal)

  assert.deepEqual(order.slice(-2), ['p_metadata', 'p_sha256file'])
})

test('a listing that fails fails the removal: nothing is left behind unseen', async () => {
  const inner = await storeWith(['p-00001'])
  const store = wrapStore(inner, ({ method }, call) => {
    if (method === 'listPage') throw new AgentError('STORE_UNAVAILABLE', 'swift answered 503')
    return call()
  })

  await assert.rejects(removeObjects(store, place, signal), { code: 'STORE_UNAVAILABLE' })
})

test('an object that is listed again after its removal is removed again', async () => {
  const inner = await storeWith(['p-00001'])
  let listings = 0
  const store = wrapStore(inner, async ({ method }, call) => {
    if (method === 'listPage') {
      listings += 1
      // An upload cut off by a cancel lands after the first listing.
      if (listings === 2) {
        await inner.putObject({ container: 'c', name: 'p-00002' }, Buffer.from('late'), signal)
      }
    }
    return call()
  })

  await removeObjects(store, place, signal)

  assert.deepEqual(await namesIn(inner), [])
})
