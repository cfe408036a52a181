import assert from 'node:assert/strict'
import { test } from 'node:test'

import { loginFromEnvironment } from '#src/adapters/identity/user-login.ts'
import { keystoneToken } from '../../support/keystone.ts'
import { services } from '../../support/services.ts'

const { keystone } = services()
const signal = AbortSignal.timeout(60_000)

/** What an openrc file sets. */
const openrc = {
  OS_AUTH_URL: keystone.url,
  OS_USERNAME: 'demo',
  OS_PASSWORD: keystone.passwordOf('demo'),
  OS_PROJECT_NAME: 'demo',
  OS_USER_DOMAIN_NAME: 'Default',
  OS_PROJECT_DOMAIN_NAME: 'Default',
}

test('a log-in by password gives what Cinder would forward: ids, token, catalogue', async () => {
  const known = await keystoneToken('demo')

  const login = await loginFromEnvironment(openrc, signal)

  assert.equal(login?.userId, known.userId)
  assert.equal(login?.projectId, known.projectId)
  assert.deepEqual(login?.catalog, known.catalog)
  const answer = await fetch(known.swiftUrl, { headers: { 'x-auth-token': login?.token ?? '' } })
  assert.ok(answer.ok, `swift answered ${answer.status}`)
})

test('the project may be given by its id, the domains by theirs, the address without its version', async () => {
  const { projectId } = await keystoneToken('demo')
  const { OS_USERNAME, OS_PASSWORD } = openrc
  const byId = {
    OS_AUTH_URL: keystone.url.replace(/\/v3$/, ''),
    OS_USERNAME,
    OS_PASSWORD,
    OS_PROJECT_ID: projectId,
    OS_PROJECT_NAME: 'another name',
    OS_USER_DOMAIN_ID: 'default',
    OS_PROJECT_DOMAIN_ID: 'default',
  }

  assert.equal((await loginFromEnvironment(byId, signal))?.projectId, projectId)
})

const refused: readonly [string, Record<string, string>, object][] = [
  [
    'a wrong password',
    { OS_PASSWORD: 'wrong' },
    { code: 'CREDENTIALS_REFUSED', message: /answered 401; check OS_AUTH_URL/ },
  ],
  ['a project of others', { OS_PROJECT_NAME: 'other' }, { code: 'CREDENTIALS_REFUSED' }],
  [
    'a missing password',
    { OS_PASSWORD: '' },
    { code: 'CREDENTIALS_MISSING', message: 'OS_AUTH_URL is set, but OS_PASSWORD is not' },
  ],
  [
    'a missing project',
    { OS_PROJECT_NAME: '' },
    { code: 'CREDENTIALS_MISSING', message: /OS_PROJECT_NAME/ },
  ],
  ['version 2', { OS_AUTH_URL: 'http://127.0.0.1:9/v2.0' }, { code: 'ENDPOINT_NOT_FOUND' }],
  [
    'nobody at the address',
    { OS_AUTH_URL: 'http://127.0.0.1:9/v3' },
    { code: 'IDENTITY_UNAVAILABLE' },
  ],
]

for (const [what, changes, error] of refused) {
  test(`${what} is told with its code, and without the password`, async () => {
    const failure = await loginFromEnvironment({ ...openrc, ...changes }, signal).catch(
      (reason: unknown) => reason,
    )

    assert.ok(failure instanceof Error)
    assert.throws(() => {
      throw failure
    }, error)
    assert.ok(!JSON.stringify([failure, failure.message]).includes(openrc.OS_PASSWORD))
  })
}

test('a token in the environment is used as it is, and nobody is asked', async () => {
  const env = {
    OS_AUTH_URL: 'http://127.0.0.1:9',
    OS_TOKEN: 'abc',
    OS_PROJECT_ID: 'p',
    OS_USER_ID: 'u',
  }

  const login = await loginFromEnvironment(env, signal)

  assert.deepEqual(login, { token: 'abc', userId: 'u', projectId: 'p', catalog: [] })
})

test('without any of the variables, or with empty ones, there is no login', async () => {
  assert.equal(await loginFromEnvironment({}, signal), null)
  assert.equal(await loginFromEnvironment({ OS_AUTH_URL: '', OS_TOKEN: '' }, signal), null)
})
