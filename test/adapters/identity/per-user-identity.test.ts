import assert from 'node:assert/strict'
import { test } from 'node:test'

import { type PerUserOptions, perUserIdentity } from '#src/adapters/identity/per-user-identity.ts'
import type { RequestContext } from '#src/domain/request-context.ts'
import { requestContext, testIdentity } from '../../contracts/identity.ts'
import { keystoneToken } from '../../support/keystone.ts'
import { services } from '../../support/services.ts'

const signal = AbortSignal.timeout(60_000)
const defaults: PerUserOptions = {
  storageUrl: 'http://swift.example:8080/v1/AUTH_',
  catalogInfo: 'object-store:swift:publicURL',
  region: null,
  allowedEndpoints: [],
  checkToken: null,
  askToken: null,
  service: null,
}

async function realRequest(): Promise<RequestContext> {
  const { token, projectId, catalog } = await keystoneToken('demo')
  return requestContext({ authToken: token, projectId, serviceCatalog: catalog })
}

async function urlOf(
  options: Partial<PerUserOptions>,
  context: Partial<RequestContext>,
  projectId: string | null,
): Promise<string> {
  const identity = perUserIdentity({ ...defaults, ...options })
  return (await identity.accessFor(requestContext(context), projectId).access(signal)).url
}

function catalog(...endpoints: Readonly<Record<string, string>>[]) {
  return [
    { type: 'image', name: 'glance', endpoints: [{ publicURL: 'http://image.example' }] },
    { type: 'object-store', name: 'swift', endpoints },
    {
      type: 'object-store',
      name: 'second',
      endpoints: [{ publicURL: 'http://second.example/v1/AUTH_a' }],
    },
  ]
}

testIdentity('perUserIdentity by the catalogue', async () => {
  const context = await realRequest()
  const identity = perUserIdentity({ ...defaults, storageUrl: null })
  return { identity, context, projectId: context.projectId ?? '' }
})

testIdentity('perUserIdentity by the URL', async () => {
  const context = await realRequest()
  const identity = perUserIdentity({ ...defaults, storageUrl: `${services().swift.url}/v1/AUTH_` })
  return { identity, context, projectId: context.projectId ?? '' }
})

test('the URL is the option with the project id right behind it', async () => {
  const context = { projectId: 'abc' }

  assert.equal(await urlOf({}, context, 'abc'), 'http://swift.example:8080/v1/AUTH_abc')
  assert.equal(await urlOf({}, context, null), 'http://swift.example:8080/v1/AUTH_abc')
  const bare = { storageUrl: 'https://swift.example/v1/' }
  assert.equal(await urlOf(bare, context, 'abc'), 'https://swift.example/v1/abc')
})

test('the option wins over the catalogue', async () => {
  const serviceCatalog = catalog({ publicURL: 'http://elsewhere.example/v1/AUTH_x' })

  const url = await urlOf({}, { projectId: 'abc', serviceCatalog }, 'abc')

  assert.equal(url, 'http://swift.example:8080/v1/AUTH_abc')
})

test('an administrator works on the account of the backup, where the option gives its URL', async () => {
  const admin = { projectId: 'admins', isAdmin: true }

  assert.equal(await urlOf({}, admin, 'abc'), 'http://swift.example:8080/v1/AUTH_abc')
})

test("an administrator's catalogue leads to another account: refused with the reason", async () => {
  const serviceCatalog = catalog({ publicURL: 'http://swift.example/v1/AUTH_admins' })
  const admin = { projectId: 'admins', isAdmin: true, serviceCatalog }

  await assert.rejects(urlOf({ storageUrl: null }, admin, 'abc'), {
    code: 'PROJECT_MISMATCH',
    message: /leads to project admins, the backup is project abc's; set backup_swift_url/,
  })
})

test('the first entry of the type and its first endpoint count; the name does not', async () => {
  const serviceCatalog = catalog(
    { region: 'one', publicURL: 'http://one.example/v1/AUTH_a/', internalURL: 'http://in.example' },
    { region: 'two', publicURL: 'http://two.example/v1/AUTH_a' },
  )
  const by = (options: Partial<PerUserOptions>) =>
    urlOf({ storageUrl: null, ...options }, { serviceCatalog }, 'project-1')

  assert.equal(await by({}), 'http://one.example/v1/AUTH_a')
  assert.equal(await by({ catalogInfo: 'object-store:other:internalURL' }), 'http://in.example')
  assert.equal(await by({ region: 'two' }), 'http://two.example/v1/AUTH_a')
  assert.equal(await by({ region: 'nowhere' }), 'http://one.example/v1/AUTH_a')
})

test('a catalogue without the endpoint is ENDPOINT_NOT_FOUND', async () => {
  for (const serviceCatalog of [[], catalog(), catalog({ internalURL: 'http://in.example' })]) {
    await assert.rejects(urlOf({ storageUrl: null }, { serviceCatalog }, null), {
      code: 'ENDPOINT_NOT_FOUND',
      message: "the request's catalogue has no publicURL of type object-store",
    })
  }
})

test('a catalogue leads only to the hosts that are allowed', async () => {
  const reach = (publicURL: string, ...allowedEndpoints: string[]) =>
    urlOf({ storageUrl: null, allowedEndpoints }, { serviceCatalog: catalog({ publicURL }) }, null)
  const refused = { code: 'ENDPOINT_NOT_FOUND', message: /is not in allowed_endpoints$/ }

  await reach('http://swift.example:8080/v1/AUTH_a', 'other.example', 'swift.example')
  await reach('http://swift.example:8080/v1/AUTH_a', 'swift.example:8080')
  await reach('https://swift.example/v1/AUTH_a', 'Swift.Example:443')
  await reach('http://[::1]:8080/v1/AUTH_a', '[::1]:8080')
  await assert.rejects(reach('http://swift.example:8081/v1/a', 'swift.example:8080'), refused)
  await assert.rejects(reach('http://swift.example/v1/a', 'swift.example:443'), refused)
  await assert.rejects(reach('http://evil.example/v1/a', 'swift.example'), refused)
  await assert.rejects(reach('http://swift.example.evil.example/v1/a', 'swift.example'), refused)
  await assert.rejects(reach('http://169.254.169.254/latest', 'swift.example'), refused)
})

for (const url of [
  'http://swift.example/v1/AUTH_a\r\nx-evil: 1',
  'http://swift.example/v1/AUTH a',
  'ftp://swift.example/v1/AUTH_a',
  'file:///etc/passwd',
  'http://user:secret@swift.example/v1/AUTH_a',
  'http://swift.example/v1/AUTH_a?b=c',
  'http://swift.example/v1/AUTH_a#b',
  'swift.example/v1/AUTH_a',
  '',
]) {
  test(`${JSON.stringify(url)} is no endpoint`, async () => {
    const serviceCatalog = catalog({ publicURL: url })

    await assert.rejects(urlOf({ storageUrl: null }, { serviceCatalog }, null), {
      code: 'ENDPOINT_NOT_FOUND',
    })
  })
}

for (const projectId of ['../AUTH_other', '..', 'a/b', 'a?b', 'a#b', 'a\r\nb', 'é', '']) {
  test(`a project called ${JSON.stringify(projectId)} has no account`, async () => {
    await assert.rejects(urlOf({}, { projectId }, projectId), { code: 'ENDPOINT_NOT_FOUND' })
  })
}

test('a request without a token is CREDENTIALS_MISSING, and says what helps', () => {
  for (const authToken of [null, '']) {
    const identity = perUserIdentity(defaults)

    assert.throws(() => identity.accessFor(requestContext({ authToken }), null), {
      code: 'CREDENTIALS_MISSING',
      message: /set backup_swift_auth = single_user$/,
    })
  }
})

test('a token that could add a header is refused, and not repeated', () => {
  for (const authToken of ['secret\r\nx-evil: 1', 'secret\n', 'sec ret', 'secr\u00e9t\u0000']) {
    const identity = perUserIdentity(defaults)
    const refused = (error: { code: string; message: string }) =>
      error.code === 'CREDENTIALS_REFUSED' && !error.message.includes('sec')

    assert.throws(() => identity.accessFor(requestContext({ authToken }), null), refused)
  }
})

test('a request that names no project is no claim on another one', async () => {
  const url = await urlOf({}, { projectId: null }, 'abc')

  assert.equal(url, 'http://swift.example:8080/v1/AUTH_abc')
  await assert.rejects(urlOf({}, { projectId: null }, null), { code: 'ENDPOINT_NOT_FOUND' })
})

test('swift_catalog_info has exactly three fields', () => {
  for (const catalogInfo of ['object-store', 'a:b', 'a:b:c:d', ':b:c', 'a:b:', '']) {
    assert.throws(() => perUserIdentity({ ...defaults, catalogInfo }), {
      code: 'CONFIGURATION_INVALID',
      message: /^swift_catalog_info is /,
    })
  }
})
