import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { before, type TestContext, test } from 'node:test'

import { perUserIdentity } from '#src/adapters/identity/per-user-identity.ts'
import { keystoneIdentity } from '#src/adapters/identity/single-user-identity.ts'
import { retryingStore } from '#src/adapters/object-store/retrying-store.ts'
import { openSwift, type SwiftOptions } from '#src/adapters/object-store/swift-store.ts'
import type { AccessSource } from '#src/ports/identity.ts'
import { requestContext } from '../../contracts/identity.ts'
import { collectingSink, streamedBody } from '../../contracts/object-store.ts'
import { type FaultProxy, faultProxy, type SeenRequest } from '../../support/fault-proxy.ts'
import { keystoneToken, revokeToken } from '../../support/keystone.ts'
import { services } from '../../support/services.ts'
import { keystoneAccess, swiftContainer } from '../../support/stores.ts'

const signal = AbortSignal.timeout(120_000)
const swiftOptions: SwiftOptions = {
  caFile: null,
  insecure: false,
  connectMs: 5_000,
  idleMs: 20_000,
  createContainers: true,
  storagePolicy: null,
}

let swiftOrigin: string
before(() => {
  swiftOrigin = services().swift.url
})

/** A single user of the real Keystone and Swift, with a proxy in front of each. */
async function singleUser(t: TestContext) {
  const { url, passwordOf } = services().keystone
  const keystone = await faultProxy(t, url)
  const swift = await faultProxy(t, swiftOrigin)
  // The catalogue leads to the proxy.
  const change = (text: string) => text.replaceAll(swiftOrigin, swift.origin)
  keystone.inject({ kind: 'change-body', change }, { times: 'always' })
  const identity = keystoneIdentity({
    catalogInfo: 'identity:Identity Service:publicURL',
    region: null,
    allowedEndpoints: [],
    caFile: null,
    insecure: false,
    requestMs: 20_000,
    authUrl: keystone.inFrontOf(url),
    user: 'backup',
    key: passwordOf('backup'),
    userDomain: 'Default',
    project: 'backup',
    projectDomain: 'Default',
  })
  t.after(() => identity[Symbol.asyncDispose]())
  const { name: container } = await swiftContainer(t, () => keystoneAccess('backup'))
  const access = identity.accessFor(requestContext(), null)
  return { keystone, swift, container, access, store: storeOf(t, access) }
}

function storeOf(t: TestContext, access: AccessSource) {
  const client = openSwift(swiftOptions)
  t.after(() => client[Symbol.asyncDispose]())
  const policy = { attemptsMin: 4, backoffMs: 5, budgetMs: 0 }
  return retryingStore(client.store(access), { ...policy, onRetry: () => {} })
}

const logins = ({ seen }: FaultProxy) => seen.filter(({ method }) => method === 'POST').length
const tokenOf = ({ headers }: SeenRequest) => headers['x-auth-token']

test('64 calls that are refused at once share one renewal, and all end well', async (t) => {
  const { keystone, swift, container, access, store } = await singleUser(t)
  const { token } = await access.access(signal)
  const where = (request: SeenRequest) => tokenOf(request) === token
  swift.inject({ kind: 'answer', status: 401 }, { where, times: 64 })
  const body = randomBytes(1000)
  const name = (i: number) => `a-${String(i).padStart(5, '0')}`

  await Promise.all(
    Array.from({ length: 64 }, (_, i) =>
      store.putObject({ container, name: name(i) }, body, signal),
    ),
  )

  assert.equal((await store.listPage(container, 'a-', '', signal)).length, 64)
  assert.equal(logins(keystone), 2)
})

test('a token that ends in the middle is renewed for every kind of call, bodies included', async (t) => {
  const { keystone, swift, container, store } = await singleUser(t)
  const id = { container, name: 'a' }
  const body = randomBytes(200_000)
  const sink = collectingSink()
  const { body: streamed, counts } = streamedBody([body, body])
  for (const [method, path] of [
    ['HEAD', /test-\w+$/],
    ['PUT', /b$/],
    ['PUT', /a$/],
    ['GET', /a$/],
    ['GET', /format=json/],
    ['DELETE', /a$/],
  ] as const) {
    swift.inject({ kind: 'answer', status: 401 }, { method, path })
  }

  await store.ensureContainer(container, signal)
  await store.putObject({ container, name: 'b' }, streamed, signal)
  await store.putObject(id, body, signal)
  await store.getObject(id, sink, signal)
  assert.equal((await store.listPage(container, '', '', signal)).length, 2)
  await store.deleteObject(id, signal)

  assert.ok(sink.bytes().equals(body))
  assert.equal(sink.starts(), 1)
  assert.deepEqual(counts, { opened: 2, ended: 2 })
  assert.equal(logins(keystone), 7)
})

test('a new token that is refused too is TOKEN_EXPIRED, and not tried again', async (t) => {
  const { keystone, swift, container, store } = await singleUser(t)
  swift.inject({ kind: 'answer', status: 401 }, { times: 'always' })

  await assert.rejects(store.listPage(container, '', '', signal), {
    code: 'TOKEN_EXPIRED',
    message: `list ${container}: swift answered 401; also at the second try; check that swift and keystone know each other, and that the role of a service token is in swift's service_token_roles`,
  })
  assert.equal(swift.seen.length, 2)
  assert.equal(logins(keystone), 2)
})

test('keystone that is away for a while is waited for', async (t) => {
  const { keystone, container, store } = await singleUser(t)
  keystone.inject({ kind: 'answer', status: 503 }, { times: 2 })

  await store.listPage(container, '', '', signal)

  assert.equal(logins(keystone), 3)
})

test("a user's token that was revoked is TOKEN_EXPIRED, and says what to do", async (t) => {
  const user = await keystoneToken('demo')
  const swift = await faultProxy(t, swiftOrigin)
  const identity = perUserIdentity({
    storageUrl: `${swift.origin}/v1/AUTH_`,
    catalogInfo: 'object-store:swift:publicURL',
    region: null,
    allowedEndpoints: [],
    checkToken: null,
    askToken: null,
    service: null,
  })
  const context = requestContext({ authToken: user.token, projectId: user.projectId })
  const store = storeOf(t, identity.accessFor(context, user.projectId))
  assert.deepEqual(await store.listPage('no-container', '', '', signal), [])

  await revokeToken(user)

  const error = await store.listPage('no-container', '', '', signal).catch((thrown) => thrown)
  assert.equal(error.code, 'TOKEN_EXPIRED')
  assert.match(error.message, /ask again with a new one/)
  assert.ok(!error.message.includes(user.token))
  assert.equal(swift.seen.length, 2)
})
