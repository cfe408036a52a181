import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import type { BackupRecord } from '#src/domain/backup-record.ts'
import { startAgent } from '../support/agent.ts'
import { chunkBytes, drivenAgent } from '../support/driven-agent.ts'
import { faultProxy } from '../support/fault-proxy.ts'
import { keystoneToken, revokeToken } from '../support/keystone.ts'
import { eventually } from '../support/rabbit.ts'
import { assertSecret, failedBackup } from '../support/refused.ts'
import { recordFor, startScheduler } from '../support/scheduler.ts'
import { services } from '../support/services.ts'
import { keystoneAccess, type Login, swiftContainer } from '../support/stores.ts'
import { byUrl, contextOf, swiftAgent, swiftSettings } from '../support/swift-agent.ts'
import { diskBytes, noise } from '../support/volume-data.ts'

const userLogin: Login = () => keystoneAccess('demo')
const demo = async () => contextOf(await keystoneToken('demo'))

test('a token that nobody issued ends in TOKEN_EXPIRED, and stays a secret', async (t) => {
  const token = `gAAAAAB${randomUUID()}`
  const context = { ...(await demo()), authToken: token }
  const agent = await drivenAgent(t, swiftSettings(byUrl()), context)

  const event = await failedBackup(agent)

  assert.equal(event.payload['code'], 'TOKEN_EXPIRED')
  assert.match(String(event.payload['message']), /ask again with a new one/)
  assert.match(String((event.payload['record'] as BackupRecord).fail_reason), /^TOKEN_EXPIRED: /)
  assertSecret(token, agent)
})

test('a token that is revoked before the first chunk ends the backup in TOKEN_EXPIRED, or it waits; a new one makes it', async (t) => {
  const user = await keystoneToken('demo')
  const container = await swiftContainer(t, userLogin)
  const options = { ...byUrl(), backup_swift_container: container.name }
  const slow = { cinder_backup_agent: { requests_max: 4 } }
  const agent = await drivenAgent(t, swiftSettings(options, slow), contextOf(user))
  const volumeId = await agent.newVolume(diskBytes('revoked', 24 * chunkBytes))
  const asked = agent.asked(volumeId)

  await agent.scheduler.ask('create', asked)
  await revokeToken(user)
  const failed = await agent.scheduler.ended('create', asked.id)

  assert.equal(failed.eventType, 'backup.create.error')
  assert.equal(failed.payload['code'], 'TOKEN_EXPIRED')
  const renewed = await startScheduler(t, agent.vhost.transportUrl, await demo())
  const ended = await renewed.run('create', asked)
  assert.equal(ended.eventType, 'backup.create.end', String(ended.payload['message']))
  const record = renewed.recordOf(asked.id)
  const stored = await container.list()
  assert.equal(stored.length, record.object_count + 2, 'nothing of the first try is left')
  assertSecret(user.token, agent)
})

test('a delete that is taken up again with a token that has ended loses neither record nor objects', async (t) => {
  const user = await keystoneToken('demo')
  const container = await swiftContainer(t, userLogin)
  const swift = await faultProxy(t, services().swift.url)
  const options = {
    backup_swift_url: `${swift.origin}/v1/AUTH_`,
    backup_swift_container: container.name,
  }
  const agent = await drivenAgent(t, swiftSettings(options), contextOf(user))
  const record = await agent.backup(await agent.newVolume(diskBytes('kept', 3 * chunkBytes)))
  const before = await container.list()
  let isHanging = true
  swift.follow(() => (isHanging ? { kind: 'hang' } : null))
  const asked = swift.seen.length
  await agent.scheduler.ask('delete', record)
  await eventually(() => swift.seen.length > asked, 'the delete has begun')
  await agent.agent.end('SIGKILL')
  await revokeToken(user)
  isHanging = false

  await startAgent(t, agent.home)
  const failed = await agent.scheduler.ended('delete', record.id)

  assert.equal(failed.eventType, 'backup.delete.error')
  assert.equal(failed.payload['code'], 'TOKEN_EXPIRED', String(failed.payload['message']))
  const kept = failed.payload['record'] as BackupRecord
  assert.deepEqual([kept.deleted, kept.service_metadata], [false, record.service_metadata])
  assert.deepEqual(await container.list(), before)
  const renewed = await startScheduler(t, agent.vhost.transportUrl, await demo())
  const ended = await renewed.run('delete', kept)
  assert.equal(ended.eventType, 'backup.delete.end', String(ended.payload['message']))
  assert.deepEqual(await container.list(), [])
})

test("a request without a token says so; with another project's token Swift's refusal is told", async (t) => {
  const user = await keystoneToken('demo')
  const other = await keystoneToken('other')
  const agent = await drivenAgent(t, swiftSettings(byUrl()), contextOf(user, { authToken: null }))
  const thief = await startScheduler(
    t,
    agent.vhost.transportUrl,
    contextOf(user, { authToken: other.token }),
  )

  const missing = await failedBackup(agent)
  const asked = agent.asked(await agent.newVolume(noise('thief', 5000)))
  const stolen = await thief.run('create', asked)

  assert.equal(missing.payload['code'], 'CREDENTIALS_MISSING')
  assert.equal(stolen.eventType, 'backup.create.error')
  assert.equal(stolen.payload['code'], 'STORE_FORBIDDEN')
  assert.match(String(stolen.payload['message']), /no role on \/v1\/AUTH_/)
})

test("another project's backup is neither restored nor deleted, whatever the request says", async (t) => {
  const agent = await swiftAgent(t)
  const record = await agent.backup(await agent.newVolume(noise('mine', 100_000)))
  const other = contextOf(await keystoneToken('other'))
  const thief = await startScheduler(t, agent.vhost.transportUrl, other)
  const target = await agent.newVolume(Buffer.alloc(100_000))

  const refused = { code: 'PROJECT_MISMATCH', message: /only an admin may do that/ }
  await assert.rejects(thief.ask('restore', record, { volume_id: target }), refused)
  await assert.rejects(thief.ask('delete', record), refused)
  assert.equal((await agent.container.list()).length, record.object_count + 2)
  assert.deepEqual(await agent.readVolume(target), Buffer.alloc(100_000))

  // An agent that does not know whose it is looks for it in the claimed project's account.
  const stranger = await drivenAgent(t, swiftSettings(byUrl()), other)
  const claimed = { ...record, project_id: other.projectId }
  const ended = await stranger.scheduler.run('restore', claimed, {
    volume_id: await stranger.newVolume(Buffer.alloc(100_000)),
  })
  assert.equal(ended.eventType, 'backup.restore.error')
  assert.equal(ended.payload['code'], 'BACKUP_NOT_FOUND')
})

test("a parent of another project's is refused", async (t) => {
  const agent = await swiftAgent(t)
  const parent = await agent.backup(await agent.newVolume(noise('parent', 100_000)))
  const other = contextOf(await keystoneToken('other'))
  const thief = await startScheduler(t, agent.vhost.transportUrl, other)

  const asked = recordFor(parent.volume_id, other, { parent_id: parent.id })
  const { payload } = await thief.run('create', asked)

  assert.equal(payload['code'], 'PROJECT_MISMATCH')
})
