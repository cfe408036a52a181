import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import type { HeardEvent } from '#src/adapters/rpc/rabbit-scheduler.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { AgentSettings } from '../support/agent.ts'
import { complaints } from '../support/asyncapi.ts'
import { blockBytes, type DrivenAgent, drivenAgent } from '../support/driven-agent.ts'
import { type FaultProxy, faultProxy } from '../support/fault-proxy.ts'
import { keystoneToken, revokeToken, type UserToken } from '../support/keystone.ts'
import { eventually } from '../support/rabbit.ts'
import { assertSecret } from '../support/refused.ts'
import { startScheduler } from '../support/scheduler.ts'
import { services } from '../support/services.ts'
import { keystoneAccess, type SwiftContainer, swiftContainer } from '../support/stores.ts'
import { byUrl, contextOf, swiftSettings } from '../support/swift-agent.ts'
import { diskBytes, noise, sha256 } from '../support/volume-data.ts'

// A backup that takes longer than the ten seconds that its user's token lives.

const chunkCount = 70
const volumeBytes = chunkCount * blockBytes - 11
const patienceMs = 60_000

/** The options of a service user whose own tokens live ten seconds too. */
function withServiceUser(auth: string): AgentSettings {
  const { passwordOf } = services().keystone
  return {
    DEFAULT: { backup_swift_service_auth: 'true' },
    service_user: {
      send_service_user_token: 'true',
      auth_type: 'password',
      auth_url: auth,
      username: 'cinder',
      password: passwordOf('cinder'),
      user_domain_name: 'Default',
      project_name: 'service',
      project_domain_name: 'Default',
    },
  }
}

type Slow = {
  readonly agent: DrivenAgent
  readonly swift: FaultProxy
  readonly container: SwiftContainer
}

/** An agent that acts for `user`, no faster than `rate` requests a second. */
async function slowAgent(
  t: TestContext,
  user: UserToken,
  more: AgentSettings,
  rate = 5,
): Promise<Slow> {
  const { swift: real } = services()
  const swift = await faultProxy(t, real.url)
  const container = await swiftContainer(t, () => keystoneAccess('demo'))
  const options = {
    ...byUrl(),
    backup_swift_url: `${swift.origin}/v1/AUTH_`,
    backup_swift_container: container.name,
    backup_swift_object_size: blockBytes,
    ...more['DEFAULT'],
  }
  const own = { requests_max: rate, ...more['cinder_backup_agent'] }
  const sections = { ...more, cinder_backup_agent: own }
  const agent = await drivenAgent(t, swiftSettings(options, sections), contextOf(user))
  return { agent, swift, container }
}

const chunkNames = (swift: FaultProxy) =>
  putsOf(swift).flatMap(({ path }) => (/-\d{5}$/.test(path) ? [path] : []))

const putsOf = ({ seen }: FaultProxy) => seen.filter(({ method }) => method === 'PUT')

/** With a fresh token, by an agent that has no service user. */
async function restored(t: TestContext, record: BackupRecord) {
  const fresh = contextOf(await keystoneToken('demo'))
  const agent = await drivenAgent(t, swiftSettings(byUrl()), fresh)
  return sha256(await agent.restore(record, noise('dirt', volumeBytes)))
}

test("with a service token a backup outlives its user's token, and is whole", async (t) => {
  const { keystone } = services()
  const auth = await faultProxy(t, keystone.shortUrl)
  const user = await keystoneToken('demo', { short: true })
  const options = withServiceUser(auth.inFrontOf(keystone.shortUrl))
  const { agent, swift } = await slowAgent(t, user, options)
  const bytes = diskBytes('outlives', volumeBytes)

  const record = await agent.backup(await agent.newVolume(bytes))

  assert.ok(Date.now() > Date.parse(user.expiresAt), 'it was over before the token was')
  assert.equal(record.object_count, chunkCount)
  const puts = putsOf(swift)
  assert.deepEqual(
    new Set(puts.map(({ headers }) => headers['x-auth-token'])),
    new Set([user.token]),
  )
  const ours = new Set(puts.map(({ headers }) => headers['x-service-token']))
  assert.ok(!ours.has(undefined))
  assert.ok(ours.size >= 2, 'our own token was renewed')
  const logins = auth.seen.filter(({ method }) => method === 'POST')
  assert.ok(logins.length <= ours.size + 1, `${logins.length} logins for ${ours.size} tokens`)
  for (const token of [user.token, ...ours]) assertSecret(String(token), agent)
  assert.equal(await restored(t, record), sha256(bytes))
})

/** The event by which a job tells that it waits, with its payload. */
async function waiting({ scheduler }: DrivenAgent, backupId: string) {
  const isIt = ({ eventType, payload }: HeardEvent) =>
    payload['backup_id'] === backupId && eventType === 'backup.create.waiting'
  await eventually(() => scheduler.events.some(isIt), 'it waits for a new token', patienceMs)
  return scheduler.events.find(isIt)?.payload ?? {}
}

test("without one the same backup waits when its user's token has ended, and goes on with a new one", async (t) => {
  const user = await keystoneToken('demo', { short: true })
  const { agent, container, swift } = await slowAgent(t, user, {})
  const bytes = diskBytes('waits', volumeBytes)
  const asked = agent.asked(await agent.newVolume(bytes))
  await agent.scheduler.ask('create', asked)

  const payload = await waiting(agent, asked.id)
  assert.equal(payload['code'], 'TOKEN_EXPIRED')
  assert.equal(payload['status'], 'creating')
  const said = await complaints([{ name: 'Waiting/properties/payload', value: payload }])
  assert.deepEqual(said, [[]])
  assert.equal(payload['host'], agent.home.host)
  assert.match(String(payload['message']), /ask again with a new one, configure service tokens/)
  const chunksBefore = chunkNames(swift).length
  assert.ok(chunksBefore > 2, 'it had got on')

  const fresh = contextOf(await keystoneToken('demo'))
  const scheduler = await startScheduler(t, agent.vhost.transportUrl, fresh)
  await scheduler.ask('create', asked, {}, agent.home.host)
  const { eventType, payload: end } = await agent.scheduler.ended('create', asked.id, patienceMs)

  assert.equal(eventType, 'backup.create.end', String(end['message']))
  assert.equal(end['run'], payload['run'], 'the same run goes on')
  const record = agent.scheduler.recordOf(asked.id)
  const stored = await container.list()
  assert.equal(stored.length, record.object_count + 2, 'nothing is there twice')
  const names = chunkNames(swift)
  assert.ok(names.length - new Set(names).size <= 8, 'at most what was in flight went up twice')
  for (const token of [user.token, String(fresh.authToken)]) assertSecret(token, agent)
  assert.equal(await restored(t, record), sha256(bytes))
})

test('a revoked token makes a backup wait also with a service token, and says why; in vain, it ends', async (t) => {
  const { keystone } = services()
  const user = await keystoneToken('demo')
  const impatient = { cinder_backup_agent: { retry_budget: 2 } }
  const options = { ...withServiceUser(keystone.url), ...impatient }
  const { agent, swift } = await slowAgent(t, user, options)
  const asked = agent.asked(await agent.newVolume(diskBytes('revoked', volumeBytes)))

  await agent.scheduler.ask('create', asked)
  await eventually(() => chunkNames(swift).length > 2, 'objects go up', patienceMs)
  await revokeToken(user)
  const told = await waiting(agent, asked.id)
  const { eventType, payload } = await agent.scheduler.ended('create', asked.id)

  assert.match(String(told['message']), /it was revoked/)
  assert.equal(told['seconds_max'], 2)
  assert.equal(eventType, 'backup.create.error')
  assert.equal(payload['code'], 'TOKEN_EXPIRED')
  assert.match(String(payload['message']), /it was revoked/)
  assertSecret(user.token, agent)
})

test("a service token that is revoked in mid-backup is replaced, its user's token long over", async (t) => {
  const { keystone } = services()
  const user = await keystoneToken('demo', { short: true })
  const { agent, swift } = await slowAgent(t, user, withServiceUser(keystone.url))
  const bytes = diskBytes('replaced', volumeBytes)
  const asked = agent.asked(await agent.newVolume(bytes))
  const ours = () => putsOf(swift).map(({ headers }) => String(headers['x-service-token']))

  await agent.scheduler.ask('create', asked)
  await eventually(() => Date.now() > Date.parse(user.expiresAt), 'the token ends', patienceMs)
  const [token = ''] = ours()
  await revokeToken({ token, swiftUrl: (await keystoneToken('cinder')).swiftUrl })
  const { eventType, payload } = await agent.scheduler.ended('create', asked.id)

  assert.equal(eventType, 'backup.create.end', String(payload['message']))
  assert.equal(new Set(ours()).size, 2)
  assert.equal(await restored(t, agent.scheduler.recordOf(asked.id)), sha256(bytes))
})
