import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { after, type TestContext, test } from 'node:test'

import type { RequestContext } from '#src/domain/request-context.ts'
import { startAgent } from '../support/agent.ts'
import { aContext } from '../support/builders.ts'
import { certificates } from '../support/certificates.ts'
import { type DrivenAgent, drivenAgent } from '../support/driven-agent.ts'
import { faultProxy } from '../support/fault-proxy.ts'
import { applicationCredential, keystoneToken, type UserToken } from '../support/keystone.ts'
import { assertSecret, failedBackup } from '../support/refused.ts'
import { startScheduler } from '../support/scheduler.ts'
import { services } from '../support/services.ts'
import { keystoneAccess, swiftContainer } from '../support/stores.ts'
import { byPassword, contextOf, swiftSettings } from '../support/swift-agent.ts'
import { noise } from '../support/volume-data.ts'

const known = certificates(after)

/** A listener that nobody may connect to. */
async function canary(t: TestContext) {
  let connects = 0
  const server = createServer((socket) => {
    connects += 1
    socket.destroy()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const { port } = server.address() as { port: number }
  return { origin: `http://127.0.0.1:${port}`, connects: () => connects }
}

/** A request whose catalogue names this place as the store and as Keystone. */
function leadTo(user: UserToken, origin: string): RequestContext {
  const store = { region: 'RegionOne', publicURL: `${origin}/v1/AUTH_${user.projectId}` }
  return contextOf(user, {
    serviceCatalog: [
      { type: 'object-store', name: 'swift', endpoints: [store] },
      { type: 'identity', name: 'keystone', endpoints: [{ publicURL: `${origin}/v3` }] },
    ],
  })
}

/** The code in the error event of a backup that `context` asks for. */
async function refusal(t: TestContext, agent: DrivenAgent, context: RequestContext) {
  const scheduler = await startScheduler(t, agent.vhost.transportUrl, context)
  const asked = agent.asked(await agent.newVolume(noise('refused', 5000)))
  const { eventType, payload } = await scheduler.run('create', asked)
  assert.equal(eventType, 'backup.create.error')
  return payload
}

test('no token goes to a host that allowed_endpoints does not hold, nor a connection', async (t) => {
  const trap = await canary(t)
  const user = await keystoneToken('demo')
  const allowed = new URL(services().swift.url).host
  const settings = swiftSettings({}, { cinder_backup_agent: { allowed_endpoints: allowed } })
  const agent = await drivenAgent(t, settings, leadTo(user, trap.origin))

  const { payload } = await failedBackup(agent)

  assert.equal(payload['code'], 'ENDPOINT_NOT_FOUND')
  assert.match(String(payload['message']), /not in allowed_endpoints/)
  // Other spellings of hosts that a naive comparison lets through.
  for (const origin of [
    'http://169.254.169.254',
    `http://${allowed}.nip.example`,
    trap.origin.replace('127.0.0.1', '0.0.0.0'),
    trap.origin.replace('127.0.0.1', '2130706433'),
  ]) {
    assert.equal((await refusal(t, agent, leadTo(user, origin)))['code'], 'ENDPOINT_NOT_FOUND')
  }
  assert.equal(trap.connects(), 0)
  assertSecret(user.token, agent)
})

test("a single user's password goes to no Keystone that allowed_endpoints does not hold", async (t) => {
  const trap = await canary(t)
  const { backup_swift_auth_url: url, ...options } = byPassword()
  const settings = swiftSettings(options, {
    cinder_backup_agent: { allowed_endpoints: new URL(url).host },
  })
  const agent = await drivenAgent(t, settings, leadTo(await keystoneToken('demo'), trap.origin))

  const { payload } = await failedBackup(agent)

  assert.equal(payload['code'], 'ENDPOINT_NOT_FOUND')
  assert.equal(trap.connects(), 0)
  assertSecret(options.backup_swift_key, agent)
})

test('redirects of Swift and Keystone are not followed', async (t) => {
  const trap = await canary(t)
  const headers = { location: `${trap.origin}/v3/auth/tokens` }
  const user = await keystoneToken('demo')
  const swift = await faultProxy(t, services().swift.url)
  swift.inject({ kind: 'answer', status: 307, headers }, { times: 'always' })
  const keystone = await faultProxy(t, services().keystone.url)
  keystone.inject({ kind: 'answer', status: 307, headers }, { times: 'always' })
  const auth = { backup_swift_auth_url: keystone.inFrontOf(services().keystone.url) }

  const byToken = await drivenAgent(t, swiftSettings({}), leadTo(user, swift.origin))
  const single = swiftSettings({ ...byPassword(), ...auth })
  const byLogin = await drivenAgent(t, single, aContext({ authToken: null }))

  assert.equal((await failedBackup(byToken)).payload['code'], 'STORE_REFUSED')
  const { payload } = await failedBackup(byLogin)
  assert.equal(payload['code'], 'ENDPOINT_NOT_FOUND')
  assert.match(String(payload['message']), /a redirect \(307\), which is not followed/)
  assert.equal(trap.connects(), 0)
})

test('a Swift with a bad certificate, or with none, sees no request; with a good one it is used', async (t) => {
  const user = await keystoneToken('demo')
  const container = await swiftContainer(t, () => keystoneAccess('demo'))
  const options = {
    backup_swift_ca_cert_file: known.caFile,
    backup_swift_container: container.name,
  }
  const good = await faultProxy(t, services().swift.url, known.good)
  const agent = await drivenAgent(t, swiftSettings(options), leadTo(user, good.origin))

  for (const kind of [
    'selfSigned',
    'otherCa',
    'expired',
    'notYetValid',
    'wrongName',
    null,
  ] as const) {
    const tls = kind === null ? undefined : known[kind]
    const front = await faultProxy(t, services().swift.url, tls)
    const origin = front.origin.replace('http:', 'https:')
    const { code, message } = await refusal(t, agent, leadTo(user, origin))
    assert.equal(code, 'STORE_REFUSED', `${kind}: ${message}`)
    assert.deepEqual(front.seen, [], String(kind))
  }

  await agent.backup(await agent.newVolume(noise('trusted', 5000)))
  assert.ok(good.seen.length > 0)
  assert.doesNotMatch(agent.agent.log(), /certificates are not verified/)
})

test('insecure takes any certificate, and is a warning at each start', async (t) => {
  const user = await keystoneToken('demo')
  const container = await swiftContainer(t, () => keystoneAccess('demo'))
  const front = await faultProxy(t, services().swift.url, known.expired)
  const options = { backup_swift_auth_insecure: 'true', backup_swift_container: container.name }
  const agent = await drivenAgent(t, swiftSettings(options), leadTo(user, front.origin))
  const warning = /backup_swift_auth_insecure: is on: certificates are not verified/

  await agent.backup(await agent.newVolume(noise('insecure', 5000)))
  assert.match(agent.agent.log(), warning)
  await agent.agent.end('SIGTERM')
  const again = await startAgent(t, agent.home)

  assert.match(again.log(), warning)
})

test('with validate_tokens Keystone is asked first, and a token of another project never reaches Swift', async (t) => {
  const user = await keystoneToken('demo')
  const other = await keystoneToken('other')
  const container = await swiftContainer(t, () => keystoneAccess('demo'))
  const swift = await faultProxy(t, services().swift.url)
  const options = {
    backup_swift_url: `${swift.origin}/v1/AUTH_`,
    backup_swift_container: container.name,
  }
  const settings = swiftSettings(options, {
    keystone_authtoken: { auth_url: services().keystone.url },
    cinder_backup_agent: { validate_tokens: 'true' },
  })
  const agent = await drivenAgent(t, settings, contextOf(user))
  const withToken = () =>
    swift.seen.filter(({ headers }) => headers['x-auth-token'] === other.token)

  const stolen = await refusal(t, agent, contextOf(user, { authToken: other.token }))
  const unknown = await refusal(t, agent, contextOf(user, { authToken: 'gAAAAABnobody' }))

  assert.equal(stolen['code'], 'PROJECT_MISMATCH')
  assert.equal(unknown['code'], 'TOKEN_EXPIRED')
  assert.deepEqual(withToken(), [])
  await agent.backup(await agent.newVolume(noise('valid', 5000)))
})

test('a single user backs up and restores by an application credential alone', async (t) => {
  const { id, secret } = await applicationCredential(t, 'backup')
  const container = await swiftContainer(t, () => keystoneAccess('backup'))
  const options = {
    backup_swift_auth: 'single_user',
    backup_swift_auth_version: 3,
    backup_swift_auth_url: services().keystone.url,
    backup_swift_container: container.name,
  }
  const settings = swiftSettings(options, {
    cinder_backup_agent: { application_credential_id: id, application_credential_secret: secret },
  })
  const agent = await drivenAgent(t, settings, aContext({ authToken: null }))
  const bytes = noise('applied', 100_000)

  const record = await agent.backup(await agent.newVolume(bytes))

  assert.deepEqual(await agent.restore(record, Buffer.alloc(100_000)), Buffer.from(bytes))
  assert.equal((await container.list()).length, record.object_count + 2)
  assertSecret(secret, agent)
})
