import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import { inspect } from 'node:util'

import { keystoneIdentity, tempauthIdentity } from '#src/adapters/identity/single-user-identity.ts'
import { type AgentError, hasCode } from '#src/domain/errors.ts'
import { monotonicMs } from '#src/lib/clock.ts'
import type { AccessSource } from '#src/ports/identity.ts'
import { requestContext, testIdentity } from '../../contracts/identity.ts'
import { type FaultProxy, faultProxy } from '../../support/fault-proxy.ts'
import { applicationCredential } from '../../support/keystone.ts'
import { services } from '../../support/services.ts'
import { keystoneAccess } from '../../support/stores.ts'

const signal = AbortSignal.timeout(120_000)
const context = requestContext({ authToken: null })

type KeystoneOptions = Parameters<typeof keystoneIdentity>[0]
type TempauthOptions = Parameters<typeof tempauthIdentity>[0]

const common = {
  catalogInfo: 'identity:Identity Service:publicURL',
  region: null,
  allowedEndpoints: [],
  caFile: null,
  insecure: false,
  requestMs: 20_000,
}

function keystoneOptions(overrides: Partial<KeystoneOptions> = {}): KeystoneOptions {
  const { url, passwordOf } = services().keystone
  return {
    ...common,
    authUrl: url,
    user: 'backup',
    key: passwordOf('backup'),
    userDomain: 'Default',
    project: 'backup',
    projectDomain: 'Default',
    ...overrides,
  }
}

function tempauthOptions(overrides: Partial<TempauthOptions> = {}): TempauthOptions {
  const { authUrl, user, key } = services().swift.tempauth
  return { ...common, authUrl, user, key, ...overrides }
}

function openKeystone(t: TestContext, overrides: Partial<KeystoneOptions> = {}) {
  const identity = keystoneIdentity(keystoneOptions(overrides))
  t.after(() => identity[Symbol.asyncDispose]())
  return identity.accessFor(context, 'project-1')
}

function openTempauth(t: TestContext, overrides: Partial<TempauthOptions> = {}) {
  const identity = tempauthIdentity(tempauthOptions(overrides))
  t.after(() => identity[Symbol.asyncDispose]())
  return identity.accessFor(context, 'project-1')
}

/** Keystone notes every failed login in its SQLite, which now and then is busy: that says 500. */
async function refusal(source: AccessSource): Promise<AgentError> {
  while (true) {
    const error = await source.access(signal).catch((thrown) => thrown)
    if (!hasCode(error, 'IDENTITY_UNAVAILABLE')) return error
  }
}

const logins = ({ seen }: FaultProxy) => seen.filter(({ path }) => /auth/.test(path)).length

testIdentity('keystoneIdentity', async (t) => {
  const identity = keystoneIdentity(keystoneOptions())
  t.after(() => identity[Symbol.asyncDispose]())
  return { identity, context, projectId: 'project-1' }
})

testIdentity('tempauthIdentity', async (t) => {
  const identity = tempauthIdentity(tempauthOptions())
  t.after(() => identity[Symbol.asyncDispose]())
  return { identity, context, projectId: 'project-1' }
})

test('keystone: the account is that of the login, whoever asks', async (t) => {
  const { url } = await openKeystone(t).access(signal)

  assert.equal(url, (await keystoneAccess('backup')).url)
})

test('keystone: an address without a version, and with slashes, will do', async (t) => {
  const bare = services().keystone.url.replace(/\/v3$/, '')

  for (const authUrl of [bare, `${bare}/`, `${bare}/v3/`]) {
    assert.ok((await openKeystone(t, { authUrl }).access(signal)).token)
  }
})

test('keystone: an address of version 2 is refused', (t) => {
  const bare = services().keystone.url.replace(/\/v3$/, '')

  assert.throws(() => openKeystone(t, { authUrl: `${bare}/v2.0` }), { code: 'ENDPOINT_NOT_FOUND' })
})

test('keystone: without domains the default one is meant', async (t) => {
  const source = openKeystone(t, { userDomain: null, projectDomain: null })

  assert.ok((await source.access(signal)).token)
})

test('keystone: a user may carry the project, and one of them must', async (t) => {
  const source = openKeystone(t, { project: null, user: 'backup:backup' })

  assert.ok((await source.access(signal)).token)
  for (const user of ['backup', 'a:b:c', ':backup', 'backup:']) {
    assert.throws(() => openKeystone(t, { project: null, user }), {
      code: 'CONFIGURATION_INVALID',
      message: /backup_swift_project/,
    })
  }
})

test("keystone: without an option its address comes from the request's catalogue", async (t) => {
  const { url } = services().keystone
  const endpoints = [{ region: 'RegionOne', publicURL: url }]
  const asking = requestContext({
    serviceCatalog: [{ type: 'identity', name: 'keystone', endpoints }],
  })
  const identity = keystoneIdentity(keystoneOptions({ authUrl: null }))
  t.after(() => identity[Symbol.asyncDispose]())

  assert.ok((await identity.accessFor(asking, null).access(signal)).token)
  assert.throws(() => identity.accessFor(context, null), { code: 'ENDPOINT_NOT_FOUND' })
})

test("keystone: of the catalogue's addresses that of the region is asked, else the first", async (t) => {
  const { url } = services().keystone
  const regions = await Promise.all(
    ['first', 'RegionOne'].map(async (region) => ({ region, proxy: await faultProxy(t, url) })),
  )
  const endpoints = regions.map(({ region, proxy }) => ({
    region,
    publicURL: proxy.inFrontOf(url),
  }))
  const asking = requestContext({
    serviceCatalog: [{ type: 'identity', name: 'keystone', endpoints }],
  })
  const open = (options: Partial<KeystoneOptions>) => {
    const identity = keystoneIdentity(keystoneOptions({ authUrl: null, ...options }))
    t.after(() => identity[Symbol.asyncDispose]())
    return identity.accessFor(asking, null)
  }
  const asked = () => regions.map(({ proxy }) => logins(proxy))

  await open({ region: 'RegionOne' }).access(signal)
  assert.deepEqual(asked(), [0, 1])
  await open({ region: null }).access(signal)
  assert.deepEqual(asked(), [1, 1])
  assert.throws(() => open({ catalogInfo: 'identity:keystone:adminURL' }), {
    code: 'ENDPOINT_NOT_FOUND',
    message: "the request's catalogue has no adminURL of type identity",
  })
  assert.deepEqual(asked(), [1, 1])
})

test('a password goes to no host that is not allowed', async (t) => {
  let connects = 0
  const canary = createServer((socket) => {
    connects += 1
    socket.destroy()
  })
  await new Promise<void>((resolve) => canary.listen(0, '127.0.0.1', resolve))
  t.after(() => canary.close())
  const { port } = canary.address() as { port: number }
  const endpoints = [{ publicURL: `http://127.0.0.1:${port}/v3` }]
  const asking = requestContext({ serviceCatalog: [{ type: 'identity', name: null, endpoints }] })
  const identity = keystoneIdentity(
    keystoneOptions({ authUrl: null, allowedEndpoints: ['keystone.example'] }),
  )
  t.after(() => identity[Symbol.asyncDispose]())

  assert.throws(() => identity.accessFor(asking, null), { code: 'ENDPOINT_NOT_FOUND' })
  assert.equal(connects, 0)
})

test('keystone: a region chooses the object store, and must have one', async (t) => {
  const { url } = await openKeystone(t, { region: 'RegionOne' }).access(signal)

  assert.equal(url, (await keystoneAccess('backup')).url)
  await assert.rejects(openKeystone(t, { region: 'nowhere' }).access(signal), {
    code: 'ENDPOINT_NOT_FOUND',
    message: /no public object-store endpoint in region nowhere/,
  })
})

test('keystone: an application credential opens the store, by its id and by its name', async (t) => {
  const { id, name, secret } = await applicationCredential(t, 'backup')
  const bare = { key: '', project: null }

  for (const open of [
    { ...bare, user: '', applicationCredential: { id, name: null, secret } },
    { ...bare, user: 'backup', applicationCredential: { id: null, name, secret } },
  ]) {
    const access = await openKeystone(t, open).access(signal)
    assert.equal(access.url, (await keystoneAccess('backup')).url)
    const headers = { 'x-auth-token': access.token }
    assert.ok((await fetch(access.url, { method: 'HEAD', headers })).ok)
  }
  const wrong = { id, name: null, secret: 'wrong-secret' }
  const error = await refusal(openKeystone(t, { ...bare, applicationCredential: wrong }))
  assert.equal(error.code, 'CREDENTIALS_REFUSED')
  assert.match(error.message, /answered 401; check application_credential_id or _name and /)
  assert.ok(!inspect(error, { depth: 20 }).includes('wrong-secret'))
})

for (const [what, wrong] of [
  ['password', { key: 'wrong-secret' }],
  ['user', { user: 'nobody' }],
  ['project', { project: 'demo' }],
  ['domain', { userDomain: 'nowhere' }],
] as const) {
  test(`keystone: a wrong ${what} is CREDENTIALS_REFUSED, and no password is told`, async (t) => {
    const error = await refusal(openKeystone(t, wrong))

    assert.equal(error.code, 'CREDENTIALS_REFUSED')
    assert.match(
      error.message,
      /^log in to http:.*\/v3 as user \w+ of project \w+: keystone answered 401; check backup_swift_user/,
    )
    assert.ok(!inspect(error, { depth: 20 }).includes(keystoneOptions(wrong).key))
  })
}

test('tempauth: a wrong password is CREDENTIALS_REFUSED, and is not told', async (t) => {
  const error = await openTempauth(t, { key: 'wrong-secret' })
    .access(signal)
    .catch((thrown) => thrown)

  assert.equal(error.code, 'CREDENTIALS_REFUSED')
  assert.match(error.message, /check backup_swift_user and backup_swift_key$/)
  assert.ok(!inspect(error, { depth: 20 }).includes('wrong-secret'))
})

test('tempauth: an address that speaks no v1 auth is ENDPOINT_NOT_FOUND', async (t) => {
  const authUrl = `${services().keystone.url}/auth/v1.0`

  await assert.rejects(openTempauth(t, { authUrl }).access(signal), {
    code: 'ENDPOINT_NOT_FOUND',
    message: /no v1 auth there/,
  })
})

test('tempauth: credentials that could add a header are refused before any request', async (t) => {
  for (const wrong of [{ user: 'a\r\nx-evil: 1' }, { key: 'a\nb' }]) {
    await assert.rejects(openTempauth(t, wrong).access(signal), { code: 'CONFIGURATION_INVALID' })
  }
})

for (const [kind, open, target] of [
  ['keystone', openKeystone, () => services().keystone.url],
  ['tempauth', openTempauth, () => services().swift.tempauth.authUrl],
] as const) {
  const opened = async (t: TestContext) => {
    const proxy = await faultProxy(t, target())
    return { proxy, source: open(t, { authUrl: proxy.inFrontOf(target()) }) }
  }

  for (const status of [408, 429, 500, 503]) {
    test(`${kind}: a ${status} is IDENTITY_UNAVAILABLE`, async (t) => {
      const { proxy, source } = await opened(t)
      proxy.inject({ kind: 'answer', status, headers: { 'retry-after': '3' } })

      await assert.rejects(source.access(signal), {
        code: 'IDENTITY_UNAVAILABLE',
        context: { status, retryAfterMs: 3000 },
      })
      assert.ok((await source.access(signal)).token)
      assert.equal(logins(proxy), 2)
    })
  }

  for (const fault of [{ kind: 'lose-answer' }, { kind: 'cut-answer', afterBytes: 0 }] as const) {
    test(`${kind}: ${fault.kind} is IDENTITY_UNAVAILABLE, and tells no secret`, async (t) => {
      const { proxy, source } = await opened(t)
      // An answer without a body cannot be cut in its middle.
      proxy.inject(kind === 'tempauth' ? { kind: 'lose-answer' } : fault)

      const error = await source.access(signal).catch((thrown) => thrown)

      assert.equal(error.code, 'IDENTITY_UNAVAILABLE')
      const shown = inspect(error, { depth: 20 })
      assert.ok(!shown.includes(keystoneOptions().key))
      assert.ok(!shown.includes(tempauthOptions().key))
    })
  }

  test(`${kind}: a redirect is not followed`, async (t) => {
    const { proxy, source } = await opened(t)
    const headers = { location: `${proxy.origin}/elsewhere` }
    proxy.inject({ kind: 'answer', status: 302, headers })

    await assert.rejects(source.access(signal), { code: 'ENDPOINT_NOT_FOUND' })
    assert.equal(proxy.seen.length, 1)
  })

  test(`${kind}: 64 who ask at once share one login`, async (t) => {
    const { proxy, source } = await opened(t)

    const given = await Promise.all(Array.from({ length: 64 }, () => source.access(signal)))

    assert.equal(new Set(given.map(({ token }) => token)).size, 1)
    assert.equal(logins(proxy), 1)
  })

  test(`${kind}: 64 refusals of one token make one login`, async (t) => {
    const { proxy, source } = await opened(t)
    const refused = await source.access(signal)
    proxy.clear()

    const given = await Promise.all(Array.from({ length: 64 }, () => source.renew(refused, signal)))

    assert.equal(new Set(given.map(({ token }) => token)).size, 1)
    assert.equal(logins(proxy), 1)
  })

  test(`${kind}: a server that hangs is given up, and an abort ends the wait at once`, async (t) => {
    const { proxy } = await opened(t)
    const source = open(t, { authUrl: proxy.inFrontOf(target()), requestMs: 200 })
    proxy.inject({ kind: 'hang' }, { times: 2 })

    await assert.rejects(source.access(signal), { code: 'IDENTITY_UNAVAILABLE' })
    const stop = new AbortController()
    const waiting = source.access(stop.signal).catch((error) => error)
    stop.abort('stopping')
    assert.equal(await waiting, 'stopping')
    await assert.rejects(source.access(signal), { code: 'IDENTITY_UNAVAILABLE' })
  })
}

test('a token of a short life is renewed before it ends', async (t) => {
  const { shortUrl } = services().keystone
  const proxy = await faultProxy(t, shortUrl)
  const source = openKeystone(t, { authUrl: proxy.inFrontOf(shortUrl) })

  const startMs = monotonicMs()
  const first = await source.access(signal)
  let askedMs = startMs
  let next = first
  while (next.token === first.token) {
    await new Promise((resolve) => setTimeout(resolve, 50))
    askedMs = monotonicMs()
    next = await source.access(signal)
  }

  // Keystone gave it ten seconds, and none of them had passed when it was asked for.
  assert.ok(askedMs - startMs < 10_000, `asked for another after ${askedMs - startMs} ms`)
  assert.equal(logins(proxy), 2)
})

test('one operation stays with its account when the catalogue changes', async (t) => {
  const { url } = services().keystone
  const proxy = await faultProxy(t, url)
  const identity = keystoneIdentity(keystoneOptions({ authUrl: proxy.inFrontOf(url) }))
  t.after(() => identity[Symbol.asyncDispose]())
  const running = identity.accessFor(context, null)
  const first = await running.access(signal)
  const moved = (text: string) =>
    text.replaceAll(/"url": ?"[^"]*AUTH_[^"]*"/g, '"url": "http://moved.example/v1/AUTH_a"')
  proxy.inject({ kind: 'change-body', change: moved })

  const renewed = await running.renew(first, signal)
  const later = await identity.accessFor(context, null).access(signal)

  assert.equal(renewed.url, first.url)
  assert.notEqual(renewed.token, first.token)
  assert.equal(later.url, 'http://moved.example/v1/AUTH_a')
})

test('disposing ends a login that hangs', async (t) => {
  const proxy = await faultProxy(t, services().keystone.url)
  proxy.inject({ kind: 'hang' })
  const identity = keystoneIdentity(
    keystoneOptions({ authUrl: proxy.inFrontOf(services().keystone.url) }),
  )
  const waiting = identity
    .accessFor(context, null)
    .access(signal)
    .catch((error) => error)
  while (proxy.seen.length === 0) await new Promise((resolve) => setImmediate(resolve))

  await identity[Symbol.asyncDispose]()

  assert.ok((await waiting) instanceof Error)
})
