import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { inspect } from 'node:util'

import { perUserIdentity } from '#src/adapters/identity/per-user-identity.ts'
import { type ServiceUserOptions, serviceUser } from '#src/adapters/identity/service-user.ts'
import { hasCode } from '#src/domain/errors.ts'
import type { StoreAccess } from '#src/ports/identity.ts'
import { requestContext, testIdentity } from '../../contracts/identity.ts'
import { faultProxy } from '../../support/fault-proxy.ts'
import { applicationCredential, keystoneToken, revokeToken } from '../../support/keystone.ts'
import { eventually } from '../../support/rabbit.ts'
import { services } from '../../support/services.ts'

const signal = AbortSignal.timeout(120_000)

function optionsOf(overrides: Partial<ServiceUserOptions> = {}): ServiceUserOptions {
  const { url, passwordOf } = services().keystone
  return {
    authUrl: url,
    authType: 'password',
    userId: null,
    userName: 'cinder',
    userDomainId: null,
    userDomainName: 'Default',
    password: passwordOf('cinder'),
    projectId: null,
    projectName: 'service',
    projectDomainId: 'default',
    projectDomainName: null,
    applicationCredentialId: null,
    applicationCredentialName: null,
    applicationCredentialSecret: null,
    caFile: null,
    insecure: false,
    requestMs: 20_000,
    ...overrides,
  }
}

function openService(t: Pick<TestContext, 'after'>, overrides: Partial<ServiceUserOptions> = {}) {
  const service = serviceUser(optionsOf(overrides))
  t.after(() => service[Symbol.asyncDispose]())
  return service
}

/** Someone who asks with a token, and the access that a service user gives to that. */
function openPerUser(
  t: TestContext,
  user: { readonly token: string; readonly projectId: string },
  overrides: Partial<ServiceUserOptions> = {},
) {
  const service = openService(t, overrides)
  const identity = perUserIdentity({
    storageUrl: `${services().swift.url}/v1/AUTH_`,
    catalogInfo: 'object-store:swift:publicURL',
    region: null,
    allowedEndpoints: [],
    checkToken: null,
    askToken: service.askToken,
    service,
  })
  const context = requestContext({ authToken: user.token, projectId: user.projectId })
  return { identity, context, projectId: user.projectId }
}

async function swiftSays({ url, token, serviceToken }: StoreAccess): Promise<number> {
  const service = serviceToken === undefined ? {} : { 'x-service-token': serviceToken }
  const headers = { 'x-auth-token': token, ...service }
  const { status } = await fetch(url, { method: 'HEAD', headers })
  return status === 200 ? 204 : status // An account that nobody used yet is told as an empty one.
}

/** A token of ten seconds, once they are over. */
async function endedToken() {
  const user = await keystoneToken('demo', { short: true })
  const alone = { url: user.swiftUrl, token: user.token }
  await eventually(async () => (await swiftSays(alone)) === 401, 'the token ends', 30_000)
  return user
}

testIdentity('perUserIdentity with a service user', async (t) =>
  openPerUser(t, await keystoneToken('demo')),
)

test("beside the service user's token Swift takes a user's that has ended", async (t) => {
  const user = await endedToken()
  const { identity, context, projectId } = openPerUser(t, user)
  const source = identity.accessFor(context, projectId)

  const access = await source.access(signal)

  assert.equal(access.token, user.token)
  assert.equal(await swiftSays(access), 204)
  assert.equal(await swiftSays(await source.renew(access, signal)), 204)
})

test('Keystone tells the service user of a token that has ended, and of none that was revoked', async (t) => {
  const ended = await endedToken()
  const revoked = await keystoneToken('demo')
  await revokeToken(revoked)
  const service = openService(t)

  assert.equal(await service.askToken(ended.token, signal), ended.projectId)
  for (const token of [revoked.token, 'no-token']) {
    await assert.rejects(service.askToken(token, signal), { code: 'TOKEN_EXPIRED' })
  }
})

test('a revoked user token ends in TOKEN_EXPIRED, with the reason', async (t) => {
  const user = await keystoneToken('demo')
  const { identity, context, projectId } = openPerUser(t, user)
  const source = identity.accessFor(context, projectId)
  const access = await source.access(signal)
  await revokeToken(user)

  const error = await source.renew(access, signal).catch((thrown: unknown) => thrown)

  assert.ok(hasCode(error, 'TOKEN_EXPIRED'), inspect(error))
  assert.match(String(error), /with a service token neither; it was revoked, or/)
  assert.ok(!inspect(error, { depth: 20 }).includes(user.token))
})

test("the service user's own token is replaced when it was revoked, also while it asks", async (t) => {
  const user = await keystoneToken('demo')
  const proxy = await faultProxy(t, services().keystone.url)
  const service = openService(t, { authUrl: proxy.inFrontOf(services().keystone.url) })
  const { token } = await service.access(signal)
  await revokeToken({ token, swiftUrl: user.swiftUrl })

  assert.equal(await service.askToken(user.token, signal), user.projectId)

  assert.notEqual((await service.access(signal)).token, token)
  assert.equal(proxy.seen.filter(({ method }) => method === 'POST').length, 2)
})

test('64 refusals at once make one log-in and one question', async (t) => {
  const user = await keystoneToken('demo')
  const proxy = await faultProxy(t, services().keystone.url)
  const authUrl = proxy.inFrontOf(services().keystone.url)
  const { identity, context, projectId } = openPerUser(t, user, { authUrl })
  const source = identity.accessFor(context, projectId)
  const access = await source.access(signal)
  proxy.clear()

  const given = await Promise.all(Array.from({ length: 64 }, () => source.renew(access, signal)))

  const tokens = new Set(given.map(({ serviceToken }) => serviceToken))
  assert.equal(tokens.size, 1)
  assert.ok(!tokens.has(access.serviceToken))
  assert.deepEqual(proxy.seen.map(({ method }) => method).toSorted(), ['GET', 'POST'])
})

test('Keystone that is away is IDENTITY_UNAVAILABLE, not the end of a token', async (t) => {
  const user = await keystoneToken('demo')
  const proxy = await faultProxy(t, services().keystone.url)
  const authUrl = proxy.inFrontOf(services().keystone.url)
  const { identity, context, projectId } = openPerUser(t, user, { authUrl })
  const source = identity.accessFor(context, projectId)
  const access = await source.access(signal)
  proxy.inject({ kind: 'answer', status: 503 }, { method: 'GET' })

  await assert.rejects(source.renew(access, signal), { code: 'IDENTITY_UNAVAILABLE' })
  assert.equal((await source.renew(access, signal)).token, user.token)
})

test('an application credential logs in by its id, and by its name with the user', async (t) => {
  const { id, name, secret } = await applicationCredential(t, 'cinder')
  const bare = {
    authType: 'v3applicationcredential',
    userName: null,
    password: null,
    projectName: null,
    applicationCredentialSecret: secret,
  }
  const user = await endedToken()
  const forms = [
    { ...bare, applicationCredentialId: id },
    { ...bare, applicationCredentialName: name, userName: 'cinder' },
    {
      ...bare,
      applicationCredentialName: name,
      userId: (await keystoneToken('cinder')).userId,
    },
  ]

  for (const form of forms) {
    const { identity, context, projectId } = openPerUser(t, user, form)
    const access = await identity.accessFor(context, projectId).access(signal)
    assert.equal(await swiftSays(access), 204)
  }
})

test('user and project may be given by their ids', async (t) => {
  const { userId, projectId } = await keystoneToken('cinder')
  const byIds = { userId, userName: null, projectId, projectName: null }

  assert.ok((await openService(t, byIds).access(signal)).token)
})

const refusals: readonly [string, Partial<ServiceUserOptions>, RegExp][] = [
  [
    'password',
    { password: 'wrong-secret' },
    /as user cinder of project service: keystone answered 401; check username, password, project_name and the domains in \[service_user\]$/,
  ],
  [
    'application credential',
    {
      authType: 'v3applicationcredential',
      applicationCredentialId: 'nobody',
      applicationCredentialSecret: 'wrong-secret',
    },
    /with application credential nobody: keystone answered 404; check application_credential_id or _name, /,
  ],
  [
    'secret',
    {
      authType: 'v3applicationcredential',
      applicationCredentialName: 'nobody',
      applicationCredentialSecret: 'wrong-secret',
    },
    /with application credential nobody of user cinder: keystone answered 40[14]; check /,
  ],
]

for (const [what, wrong, message] of refusals) {
  test(`a wrong ${what} is CREDENTIALS_REFUSED, names [service_user] and tells no secret`, async (t) => {
    const service = openService(t, wrong)
    let error = await service.access(signal).catch((thrown: unknown) => thrown)
    // Keystone notes failed logins in its SQLite, which now and then is busy: that says 500.
    while (hasCode(error, 'IDENTITY_UNAVAILABLE')) {
      error = await service.access(signal).catch((thrown: unknown) => thrown)
    }

    assert.ok(hasCode(error, 'CREDENTIALS_REFUSED'), inspect(error))
    assert.match(String(error), message)
    assert.ok(!inspect(error, { depth: 20 }).includes('wrong-secret'))
  })
}

test('a service user without the role is told what it lacks', async (t) => {
  const { passwordOf } = services().keystone
  const { token } = await keystoneToken('demo')
  const other = { userName: 'other', password: passwordOf('other'), projectName: 'other' }

  await assert.rejects(openService(t, other).askToken(token, signal), {
    code: 'CREDENTIALS_REFUSED',
    message: /give it the role service$/,
  })
})

test('a CA file of [service_user] that cannot be read is told by its own option', () => {
  const options = optionsOf({ caFile: '/nonexistent/ca.pem', caOption: 'cafile in [service_user]' })

  assert.throws(() => serviceUser(options), {
    code: 'CONFIGURATION_INVALID',
    message: /see cafile in \[service_user\]$/,
  })
})
