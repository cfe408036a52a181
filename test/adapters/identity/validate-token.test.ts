import assert from 'node:assert/strict'
import { test } from 'node:test'

import { identityHttp } from '#src/adapters/identity/identity-http.ts'
import { perUserIdentity } from '#src/adapters/identity/per-user-identity.ts'
import { askKeystone, tokenCheck } from '#src/adapters/identity/validate-token.ts'
import { requestContext } from '../../contracts/identity.ts'
import { faultProxy } from '../../support/fault-proxy.ts'
import { keystoneToken, revokeToken } from '../../support/keystone.ts'
import { services } from '../../support/services.ts'

const signal = AbortSignal.timeout(60_000)
const ask = identityHttp({ caFile: null, insecure: false, requestMs: 20_000 })

test('a token of the project that the request names passes, and is asked about once', async (t) => {
  const { token, projectId } = await keystoneToken('demo')
  const proxy = await faultProxy(t, services().keystone.url)
  const identity = perUserIdentity({
    storageUrl: 'http://swift.example/v1/AUTH_',
    catalogInfo: 'object-store:swift:publicURL',
    region: null,
    allowedEndpoints: [],
    checkToken: tokenCheck(askKeystone(proxy.inFrontOf(services().keystone.url), ask)),
    askToken: null,
    service: null,
  })
  const source = identity.accessFor(requestContext({ authToken: token, projectId }), projectId)

  const first = await source.access(signal)
  await source.access(signal)

  assert.equal(first.token, token)
  assert.equal(proxy.seen.length, 1)
})

test('a token of another project than the request names is PROJECT_MISMATCH', async () => {
  const { token } = await keystoneToken('demo')
  const other = await keystoneToken('other')
  const check = tokenCheck(askKeystone(services().keystone.url, ask))

  await assert.rejects(check(token, other.projectId, signal), { code: 'PROJECT_MISMATCH' })
  await assert.rejects(check(token, null, signal), { code: 'PROJECT_MISMATCH' })
})

test('a token that was revoked, or never was one, is TOKEN_EXPIRED', async () => {
  const user = await keystoneToken('demo')
  const check = tokenCheck(askKeystone(services().keystone.url, ask))
  await revokeToken(user)

  for (const token of [user.token, 'no-token']) {
    const error = await check(token, user.projectId, signal).catch((thrown) => thrown)
    assert.equal(error.code, 'TOKEN_EXPIRED')
    assert.ok(!error.message.includes(token))
  }
})

test('keystone that is away is IDENTITY_UNAVAILABLE, and no token passes unseen', async (t) => {
  const { token, projectId } = await keystoneToken('demo')
  const proxy = await faultProxy(t, services().keystone.url)
  proxy.inject({ kind: 'change-body', change: () => '{}' })
  proxy.inject({ kind: 'answer', status: 503 })
  const check = tokenCheck(askKeystone(proxy.inFrontOf(services().keystone.url), ask))

  await assert.rejects(check(token, projectId, signal), { code: 'IDENTITY_UNAVAILABLE' })
  await assert.rejects(check(token, projectId, signal), { code: 'PROJECT_MISMATCH' })
})
