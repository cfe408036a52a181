import assert from 'node:assert/strict'
import { before, type TestContext, test } from 'node:test'

import { retryingStore } from '#src/adapters/object-store/retrying-store.ts'
import { openSwift, type SwiftOptions } from '#src/adapters/object-store/swift-store.ts'
import { AgentError } from '#src/domain/errors.ts'
import { removeObjects } from '#src/operations/remove-objects.ts'
import type { AccessSource, StoreAccess } from '#src/ports/identity.ts'
import { faultProxy } from '../../support/fault-proxy.ts'
import { keystoneAccess, swiftContainer } from '../../support/stores.ts'

const signal = AbortSignal.timeout(120_000)
const options: SwiftOptions = {
  caFile: null,
  insecure: false,
  connectMs: 5_000,
  idleMs: 20_000,
  createContainers: true,
  storagePolicy: null,
}
const bulk = { method: 'POST', path: /^\/v1\/AUTH_\w+\?bulk-delete=true$/ }

let real: StoreAccess
before(async () => {
  real = await keystoneAccess('demo')
})

/** Objects of the real Swift behind a proxy that makes faults. */
async function opened(t: TestContext, names: readonly string[], source?: AccessSource) {
  const proxy = await faultProxy(t, real.url)
  const access = { url: proxy.inFrontOf(real.url), token: real.token }
  const renew = () => Promise.reject(new AgentError('TOKEN_EXPIRED', 'not to be renewed'))
  const client = openSwift(options)
  t.after(() => client[Symbol.asyncDispose]())
  const direct = await swiftContainer(t, async () => real)
  for (const name of names) await direct.put(name, Buffer.of(1))
  const bare = client.store(source ?? { access: async () => access, renew })
  const policy = { attemptsMin: 4, backoffMs: 5, budgetMs: 0, onRetry: () => {} }
  const left = async () => (await direct.list()).map(({ name }) => name)
  const methods = () => proxy.seen.map(({ method }) => method)
  const store = retryingStore(bare, policy)
  return { proxy, access, container: direct.name, bare, store, left, methods }
}

const result = (fields: Record<string, unknown>) =>
  JSON.stringify({
    'Response Status': '200 OK',
    'Response Body': '',
    'Number Deleted': 0,
    'Number Not Found': 0,
    Errors: [],
    ...fields,
  })

const chunks = ['p-00001', 'p-00002', 'p-00003']
const place = (container: string) => ({ container, objectPrefix: 'p' })

test('a backup is removed in one call, its documents after it', async (t) => {
  const { proxy, container, store, left, methods } = await opened(t, [
    ...chunks,
    'p_metadata',
    'p_sha256file',
    'q-00001',
  ])

  assert.equal(await removeObjects(store, place(container), signal), 5)

  assert.deepEqual(await left(), ['q-00001'])
  assert.deepEqual(
    proxy.seen.filter(({ method }) => method !== 'GET').map(({ path }) => path.split('/').at(-1)),
    [`${real.url.split('/').at(-1)}?bulk-delete=true`, 'p_metadata', 'p_sha256file'],
  )
  assert.equal(methods().filter((method) => method === 'POST').length, 1)
})

test('the number of names comes from /info, which is asked once', async (t) => {
  const { proxy, store } = await opened(t, [])
  const change = () => '{"bulk_delete": {"max_deletes_per_request": 7}}'
  proxy.inject({ kind: 'change-body', change }, { path: /^\/info$/ })

  assert.equal(await store.bulkDeletesMax(signal), 7)
  assert.equal(await store.bulkDeletesMax(signal), 7)
  assert.equal(proxy.seen.length, 1)
})

for (const [what, fault] of [
  ['hides /info', { kind: 'answer', status: 403 }],
  ['has no such call', { kind: 'change-body', change: () => '{"swift": {}}' }],
  ['states nonsense', { kind: 'change-body', change: () => '{"bulk_delete": 5}' }],
] as const) {
  test(`a cluster that ${what} is asked to delete one by one`, async (t) => {
    const { proxy, container, store, left, methods } = await opened(t, chunks)
    proxy.inject(fault, { path: /^\/info$/ })

    assert.equal(await store.bulkDeletesMax(signal), 0)
    assert.equal(await removeObjects(store, place(container), signal), 3)

    assert.deepEqual(await left(), [])
    assert.ok(!methods().includes('POST'))
  })
}

test('/info that is away is asked again', async (t) => {
  const { proxy, store } = await opened(t, [])
  proxy.inject({ kind: 'answer', status: 503 }, { path: /^\/info$/, times: 2 })

  assert.equal(await store.bulkDeletesMax(signal), 10_000)
})

for (const fault of [
  { kind: 'answer', status: 405 },
  { kind: 'answer', status: 404 },
  { kind: 'answer', status: 412 },
  { kind: 'answer', status: 403 },
  { kind: 'answer', status: 204 }, // An update of the account's metadata.
  { kind: 'answer', status: 200, body: 'no JSON' },
  { kind: 'answer', status: 200, body: result({ 'Number Deleted': 2 }) },
  { kind: 'answer', status: 200, body: result({ 'Response Status': '400 Bad Request' }) },
  {
    kind: 'answer',
    status: 200,
    body: result({
      Errors: [['/c/p-00001', '409 Conflict']],
      'Response Status': '400 Bad Request',
    }),
  },
] as const) {
  const what = 'body' in fault ? `${fault.status} ${fault.body}` : `${fault.status}`
  test(`a bulk delete answered with ${what} is done one by one`, async (t) => {
    const { proxy, container, store, left, methods } = await opened(t, chunks)
    proxy.inject(fault, bulk)

    assert.equal(await removeObjects(store, place(container), signal), 3)

    assert.deepEqual(await left(), [])
    assert.equal(methods().filter((method) => method === 'DELETE').length, 3)
  })
}

for (const [what, fields] of [
  ['503 for a name', { Errors: [['/c/p-00001', '503 Service Unavailable']] }],
  ['429 for a name', { Errors: [['/c/p-00001', '429 Too Many Requests']] }],
  ['500 for the whole', {}],
] as const) {
  test(`a bulk delete answered with ${what} is tried again`, async (t) => {
    const { proxy, container, bare, store, left, methods } = await opened(t, chunks)
    const status = what.startsWith('500') ? '500 Internal Error' : '400 Bad Request'
    const body = result({ 'Response Status': status, ...fields })
    proxy.inject({ kind: 'answer', status: 200, body }, { ...bulk, times: 2 })

    await assert.rejects(bare.deleteObjects(container, chunks, signal), (error: AgentError) => {
      assert.equal(error.code, 'STORE_UNAVAILABLE')
      assert.equal(error.context['status'], Number(what.slice(0, 3)))
      return true
    })
    await store.deleteObjects(container, chunks, signal)

    assert.deepEqual(await left(), [])
    assert.ok(!methods().includes('DELETE'))
  })
}

test('white space before the result is no part of it', async (t) => {
  const { proxy, container, bare } = await opened(t, [])
  const body = `  \r\n\r\n${result({ 'Number Deleted': 1, 'Number Not Found': 2 })}`
  proxy.inject({ kind: 'answer', status: 200, body }, bulk)

  await bare.deleteObjects(container, chunks, signal)
})

test('a token that ends while names are deleted is renewed, once', async (t) => {
  const errors = result({
    'Response Status': '401 Unauthorized',
    Errors: [['/c/p-00002', '401 Unauthorized']],
  })
  let renewals = 0
  let access: StoreAccess = real
  const source: AccessSource = {
    access: async () => access,
    renew: async (refused) => {
      assert.equal(refused.token, real.token)
      renewals += 1
      return access
    },
  }
  const { proxy, container, bare, left, ...scene } = await opened(t, chunks, source)
  access = scene.access
  proxy.inject({ kind: 'answer', status: 200, body: errors }, bulk)

  await bare.deleteObjects(container, chunks, signal)
  assert.deepEqual([renewals, await left()], [1, []])

  proxy.inject({ kind: 'answer', status: 200, body: errors }, { ...bulk, times: 2 })
  await assert.rejects(bare.deleteObjects(container, chunks, signal), { code: 'TOKEN_EXPIRED' })
})
