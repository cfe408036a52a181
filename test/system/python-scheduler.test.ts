import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { JsonObject } from '#src/domain/json.ts'
import { type DrivenAgent, drivenAgent, wholeFile } from '../support/driven-agent.ts'
import { cinderContext } from '../support/keystone.ts'
import { type OsloNotification, osloClient, osloListener } from '../support/oslo.ts'
import { swiftAgent } from '../support/swift-agent.ts'
import { diskBytes, noise, sha256 } from '../support/volume-data.ts'

// Debian's real oslo.messaging, with Cinder's own serializer and exceptions, drives the agent.

const agent = await drivenAgent(wholeFile)
const client = await osloClient({ transportUrl: agent.vhost.transportUrl }, 'cinder-backup')
wholeFile.after(() => client[Symbol.asyncDispose]())
const { host } = agent.home

/** As cinder-api sends it. */
const backupObject = (record: BackupRecord): JsonObject => ({
  $object: 'Backup',
  data: { ...record },
})

const contextFor = ({ context }: DrivenAgent): JsonObject => ({
  user_id: context.userId,
  project_id: context.projectId,
  request_id: `req-${randomUUID()}`,
})

const isEnd = (id: string) => (heard: OsloNotification) =>
  heard.payload['backup_id'] === id && /\.(end|error)$/.test(heard.event_type)

for (const [where, server] of [['the topic', undefined] as const, ['the host', host] as const]) {
  test(`casts to ${where} make, restore and delete a backup; a listener hears all of it`, async () => {
    await using listener = await osloListener({ transportUrl: agent.vhost.transportUrl })
    const bytes = diskBytes(where, 600_000)
    const asked = agent.asked(await agent.newVolume(bytes), { display_name: `nächtlich ${where}` })
    const target = await agent.newVolume(noise('dirt', 600_000))
    const send = async (method: string, record: BackupRecord, more: JsonObject = {}) => {
      const args = { backup: backupObject(record), ...more }
      const context = contextFor(agent)
      const to = server === undefined ? {} : { server }
      await client.cast({ ...to, method, args, context, version: '2.0' })
      const type = `backup.${method.replace('_backup', '')}.end`
      const heard = await listener.find(
        (one) => one.payload['backup_id'] === record.id && one.event_type === type,
      )
      assert.equal(heard.publisher_id, `backup.${host}`)
      assert.equal(heard.priority, 'info')
      assert.equal(heard.context['request_id'], context['request_id'])
      assert.equal(heard.payload['display_name'], asked.display_name)
      return heard.payload['record'] as unknown as BackupRecord
    }

    const made = await send('create_backup', asked)
    await send('restore_backup', { ...made, status: 'restoring' }, { volume_id: target })
    const deleted = await send('delete_backup', { ...made, status: 'deleting' })

    assert.equal(made.status, 'available')
    assert.equal(sha256(await agent.readVolume(target)), sha256(bytes))
    assert.equal(deleted.status, 'deleted')
    // The queue is one that listeners share: it may still hold what another left.
    const types = listener.heard
      .filter(({ payload }) => payload['backup_id'] === asked.id)
      .map(({ event_type }) => event_type)
    for (const operation of ['create', 'restore', 'delete']) {
      const one = types.filter((type) => type.startsWith(`backup.${operation}.`))
      assert.deepEqual(one, [`backup.${operation}.start`, `backup.${operation}.end`])
    }
  })
}

test("a cast with a user's whole context lands in that user's Swift", async (t) => {
  const swift = await swiftAgent(t, { backup_swift_url: null })
  await using listener = await osloListener({ transportUrl: swift.vhost.transportUrl })
  await using api = await osloClient({ transportUrl: swift.vhost.transportUrl }, 'cinder-backup')
  const asked = swift.asked(await swift.newVolume(noise('swift', 300_000)))

  await api.cast({
    method: 'create_backup',
    args: { backup: backupObject(asked) },
    context: cinderContext(swift.user, `req-${randomUUID()}`),
    version: '2.0',
  })

  const { event_type, payload, context } = await listener.find(isEnd(asked.id))
  assert.equal(event_type, 'backup.create.end', String(payload['message']))
  assert.equal((await swift.container.list()).length, 4)
  assert.equal(context['auth_token'], null)
  assert.deepEqual(context['service_catalog'], [])
  assert.ok(!JSON.stringify(listener.heard).includes(swift.user.token))
})

test('check_support_to_force_delete answers true, on the topic and on the host', async () => {
  const request = { method: 'check_support_to_force_delete', context: contextFor(agent) }

  for (const server of [{}, { server: host }]) {
    const answer = await client.call({ ...request, ...server, version: '2.0' })
    assert.deepEqual(answer.result, true)
  }
})

test('what oslo refuses is refused in its words', async () => {
  const context = contextFor(agent)
  const backup = backupObject(agent.asked(randomUUID()))
  const refusals = [
    [
      { method: 'frobnicate', version: '2.0' },
      'RemoteError',
      /^Remote error: NoSuchMethod Endpoint does not support RPC method frobnicate\b/,
    ],
    [
      { method: '_private', version: '2.0' },
      'RemoteError',
      /^Remote error: NoSuchMethod Endpoint does not support RPC method _private\b/,
    ],
    [
      { method: 'create_backup', version: '3.1', args: { backup } },
      'RemoteError',
      /UnsupportedVersion Endpoint does not support RPC version 3\.1\. Attempted method: create_backup/,
    ],
    [
      { method: 'create_backup', version: '2.0', namespace: 'other', args: { backup } },
      'RemoteError',
      /UnsupportedVersion Endpoint does not support RPC version 2\.0\./,
    ],
    [
      { method: 'create_backup', version: '2.0' },
      'TypeError',
      /create_backup\(\) missing 1 required positional argument: 'backup'/,
    ],
    [
      { method: 'restore_backup', version: '2.0', args: { backup } },
      'TypeError',
      /restore_backup\(\) missing 1 required positional argument: 'volume_id'/,
    ],
  ] as const

  for (const [request, kind, text] of refusals) {
    const { failure } = await client.call({ ...request, context })
    assert.equal(failure?.class, kind, failure?.message)
    assert.match(failure?.message ?? '', text)
  }
})

test('arguments that nobody knows yet are ignored with a warning', async () => {
  await using listener = await osloListener({ transportUrl: agent.vhost.transportUrl })
  const asked = agent.asked(await agent.newVolume(noise('future', 1000)))

  const answer = await client.call({
    method: 'create_backup',
    args: { backup: backupObject(asked), of_the_future: true },
    context: contextFor(agent),
    version: '2.1',
  })

  assert.equal(answer.result, null)
  assert.match(agent.agent.log(), /unknown arguments ignored.*of_the_future/)
  await listener.find(isEnd(asked.id))
})

test('a refused call is revived as the class of Cinder that its API understands', async () => {
  const record = await agent.backup(await agent.newVolume(noise('revived', 1000)))
  const call = async (method: string, fields: Partial<BackupRecord>, more: JsonObject = {}) => {
    const args = { backup: backupObject({ ...record, ...fields }), ...more }
    const answer = await client.call({ method, args, context: contextFor(agent), version: '2.0' })
    assert.ok(answer.failure, `${method} was not refused`)
    return answer.failure
  }

  const inWork = await call('restore_backup', { status: 'creating' }, { volume_id: randomUUID() })
  const elsewhere = await call('delete_backup', { container: 'of-others' })
  const noVolume = await call('restore_backup', {}, { volume_id: randomUUID() })
  const foreign = await call('delete_backup', { project_id: randomUUID() })

  assert.deepEqual(
    [inWork, elsewhere, noVolume, foreign].map((failure) => [failure.class, failure.module]),
    ['InvalidBackup', 'InvalidBackup', 'VolumeNotFound', 'NotAuthorized'].map((name) => [
      `${name}_Remote`,
      'cinder.exception_Remote',
    ]),
  )
  for (const name of ['InvalidBackup', 'Invalid', 'CinderException']) {
    assert.ok(inWork.bases.includes(name), `it is caught as ${name}`)
  }
  assert.match(inWork.message, /creating/)
  assert.match(elsewhere.message, /container of-others/)
})

test('a call of a job is answered at its end, and heartbeats keep its caller waiting', async (t) => {
  const slow = await drivenAgent(t, { cinder_backup_agent: { requests_max: 2 } })
  await using caller = await osloClient({ transportUrl: slow.vhost.transportUrl }, 'cinder-backup')
  const asked = slow.asked(await slow.newVolume(diskBytes('monitored', 8 * 262_144)))

  // Without a heartbeat each second this would end in MessagingTimeout after two.
  const answer = await caller.call({
    method: 'create_backup',
    args: { backup: backupObject(asked) },
    context: contextFor(slow),
    version: '2.0',
    timeout: 120,
    call_monitor_timeout: 2,
  })

  assert.deepEqual(answer, { result: null })
  const { eventType } = await slow.scheduler.ended('create', asked.id)
  assert.equal(eventType, 'backup.create.end')
})

test('a call whose job fails is answered with the reason', async () => {
  const asked = agent.asked(randomUUID())

  const { failure } = await client.call({
    method: 'create_backup',
    args: { backup: backupObject(asked) },
    context: contextFor(agent),
    version: '2.0',
  })

  assert.equal(failure?.class, 'VolumeNotFound_Remote')
  assert.ok(failure.message.includes(asked.volume_id))
})

test('with driver messaging the listener hears notifications without an envelope', async (t) => {
  const bare = await drivenAgent(t, { oslo_messaging_notifications: { driver: 'messaging' } })
  await using listener = await osloListener({ transportUrl: bare.vhost.transportUrl })

  const record = await bare.backup(await bare.newVolume(noise('bare', 1000)))
  const failed = bare.asked(randomUUID())
  await bare.scheduler.run('create', failed)

  const { priority, payload } = await listener.find(isEnd(record.id))
  assert.equal(priority, 'info')
  assert.equal(payload['status'], 'available')
  const error = await listener.find(isEnd(failed.id))
  assert.equal(error.priority, 'error')
  assert.equal(error.payload['code'], 'VOLUME_NOT_FOUND')
})
