import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import type { ObjectId, ObjectStore } from '#src/ports/object-store.ts'

type Opened = {
  readonly store: ObjectStore
  readonly container: string
  readonly id: (name: string) => ObjectId
}

const ignored = { start: () => {}, write: () => {} }

/** The part of the contract that is about names: those that may not be, and many in one call. */
export function testStoreNames(adapter: string, opened: (t: TestContext) => Promise<Opened>): void {
  const signal = AbortSignal.timeout(120_000)

  for (const name of ['', 'a\r\nx-evil: 1', 'a\u0000b', '..', '../a', 'a/../../b', '\ud800']) {
    test(`${adapter}: an object cannot be called ${JSON.stringify(name)}`, async (t) => {
      const { store, container, id } = await opened(t)

      const refused = { code: 'STORE_REFUSED' }
      await assert.rejects(store.putObject(id(name), Buffer.of(1), signal), refused)
      await assert.rejects(store.getObject(id(name), ignored, signal), refused)
      await assert.rejects(store.getUndigested(id(name), ignored, signal), refused)
      await assert.rejects(store.deleteObject(id(name), signal), refused)
      assert.deepEqual(await store.listPage(container, '', '', signal), [])
    })
  }

  for (const prefix of ['a\r\nx-evil: 1', 'a\u0000b', 'volume_a\ud800']) {
    test(`${adapter}: objects cannot be listed by ${JSON.stringify(prefix)}`, async (t) => {
      const { store, container } = await opened(t)

      const listing = store.listPage(container, prefix, '', signal)

      await assert.rejects(listing, { code: 'STORE_REFUSED' })
    })
  }

  for (const name of [
    '',
    '.',
    '..',
    '../up',
    'a/../b',
    '/root',
    'a//b',
    'a\u0000b',
    'x'.repeat(257),
  ]) {
    test(`${adapter}: a container cannot be called ${JSON.stringify(name.slice(0, 20))}`, async (t) => {
      const { store } = await opened(t)

      const invalid = { code: 'CONTAINER_INVALID' }
      const id = { container: name, name: 'a' }
      await assert.rejects(store.ensureContainer(name, signal), invalid)
      await assert.rejects(store.putObject(id, Buffer.of(1), signal), invalid)
      await assert.rejects(store.getObject(id, ignored, signal), invalid)
      await assert.rejects(store.getUndigested(id, ignored, signal), invalid)
      await assert.rejects(store.listPage(name, '', '', signal), invalid)
      await assert.rejects(store.deleteObject(id, signal), invalid)
    })
  }

  test(`${adapter}: many objects are deleted in one call, where there is such a call`, async (t) => {
    const { store, container, id } = await opened(t)
    const names = [' #%25&+?=', 'a b', 'é"\\\'', '…日本', '~!*()', 'a/b', 'a%0Ab', 'plain']
    if ((await store.bulkDeletesMax(signal)) === 0) {
      const none = { code: 'ASSERTION_FAILED' }
      await assert.rejects(store.deleteObjects(container, names, signal), none)
      return
    }
    for (const name of [...names, 'kept']) await store.putObject(id(name), Buffer.of(1), signal)

    await store.deleteObjects(container, [...names, 'never there'], signal)
    await store.deleteObjects(container, names, signal) // All are gone.
    await store.deleteObjects(`missing-${container}`, names, signal)
    await store.deleteObjects(container, [], signal)

    const left = await store.listPage(container, '', '', signal)
    assert.deepEqual(
      left.map(({ name }) => name),
      ['kept'],
    )
    for (const bad of ['', 'a\nkept', '..']) {
      const refused = { code: 'STORE_REFUSED' }
      await assert.rejects(store.deleteObjects(container, ['plain', bad], signal), refused)
    }
    await assert.rejects(store.deleteObjects('', names, signal), { code: 'CONTAINER_INVALID' })
  })
}
