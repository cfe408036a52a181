// The methods that are no backup, restore or delete, through the real broker: what another agent
// or the real Cinder exported is imported and restored, in either store.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'

import type { HeardEvent } from '#src/adapters/rpc/rabbit-scheduler.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import { AgentError } from '#src/domain/errors.ts'
import type { JsonObject } from '#src/domain/json.ts'
import { type AgentSettings, agentCommand, agentHome, startAgent } from '../support/agent.ts'
import { aRecord } from '../support/builders.ts'
import { chunkBytes, type DrivenAgent, drivenAgent } from '../support/driven-agent.ts'
import { keystoneToken } from '../support/keystone.ts'
import { osloClient } from '../support/oslo.ts'
import { runPeer } from '../support/python.ts'
import { swiftContainer } from '../support/stores.ts'
import { byUrl, contextOf, swiftSettings } from '../support/swift-agent.ts'
import { changedBytes, diskBytes, noise, sha256 } from '../support/volume-data.ts'

const volumeBytes = 2 * chunkBytes + 1234

type Scene = {
  /** It has what was backed up, in its journal too. */
  readonly maker: DrivenAgent
  /** The host of another agent, which has the same store and knows nothing. */
  readonly other: string
}

async function posixScene(t: TestContext): Promise<Scene> {
  const maker = await drivenAgent(t)
  const other = await otherHost(t, maker, { DEFAULT: { backup_posix_path: maker.home.store } })
  return { maker, other }
}

async function swiftScene(t: TestContext): Promise<Scene> {
  const user = await keystoneToken('demo')
  const container = await swiftContainer(t, async () => ({ url: user.swiftUrl, token: user.token }))
  const settings = swiftSettings({ ...byUrl(), backup_swift_container: container.name })
  const maker = await drivenAgent(t, settings, contextOf(user))
  return { maker, other: await otherHost(t, maker, settings) }
}

async function otherHost(t: TestContext, maker: DrivenAgent, settings: AgentSettings) {
  const { volumes } = maker.home
  const home = await agentHome(t, maker.vhost.transportUrl, {
    ...settings,
    cinder_backup_agent: { volume_paths: `${volumes}/volume-{volume_id}` },
  })
  await startAgent(t, home)
  return home.host
}

type Exported = { readonly backup_service: string; readonly backup_url: string }

async function exportOf({ scheduler, home }: DrivenAgent, backup: BackupRecord): Promise<Exported> {
  const answer = await scheduler.send('export_record', { backup }, home.host)
  return answer as Exported
}

/** What Cinder's API sends to import a record. */
function importArgs({ context }: DrivenAgent, id: string, exported: JsonObject): JsonObject {
  const { userId: user_id, projectId: project_id } = context
  const volume_id = '00000000-0000-0000-0000-000000000000'
  const backup = { ...aRecord({ id, user_id, project_id, volume_id, size: 0 }) }
  return { backup, backup_hosts: [], ...exported }
}

/** As Cinder's API asks for it; resolves to the event that ends it. */
async function imported(
  agent: DrivenAgent,
  id: string,
  exported: Partial<Exported> & JsonObject,
  host: string,
): Promise<HeardEvent> {
  const args = importArgs(agent, id, exported)
  await agent.scheduler.send('import_record', args, host).catch((error: unknown) => {
    assert.ok(error instanceof AgentError) // Refused: the event says so too.
  })
  return agent.scheduler.ended('import', id)
}

const recordIn = ({ payload }: HeardEvent) => payload['record'] as unknown as BackupRecord

for (const [store, sceneOf] of [
  ['POSIX', posixScene],
  ['Swift', swiftScene],
] as const) {
  test(`a chain is exported, imported by another agent and restored by it: ${store}`, async (t) => {
    const { maker, other } = await sceneOf(t)
    const before = diskBytes(store, volumeBytes)
    const after = changedBytes(before, `${store} later`)
    const volumeId = await maker.newVolume(before)
    const full = await maker.backup(volumeId)
    await maker.writeVolume(volumeId, after)
    const child = await maker.backup(volumeId, { fields: { parent_id: full.id } })

    const events: HeardEvent[] = []
    for (const record of [full, child]) {
      const exported = await exportOf(maker, record)
      events.push(await imported(maker, record.id, exported, other))
    }

    assert.deepEqual(
      events.map(({ eventType }) => eventType),
      ['backup.import.end', 'backup.import.end'],
      JSON.stringify(events.map(({ payload }) => payload['message'])),
    )
    const [, record] = events.map(recordIn)
    assert.deepEqual({ ...record, host: child.host }, child)
    assert.equal(record?.host, other)
    const started = maker.scheduler.events.find(
      ({ eventType }) => eventType === 'backup.import.start',
    )
    assert.equal(started?.payload['sequence'], 1)
    const target = await maker.newVolume(noise('dirt', volumeBytes))
    const restored = { backup: { ...record }, volume_id: target }
    await maker.scheduler.send('restore_backup', restored, other)
    const { eventType } = await maker.scheduler.ended('restore', child.id)
    assert.equal(eventType, 'backup.restore.end')
    assert.equal(sha256(await maker.readVolume(target)), sha256(after))
  })

  test(`what the real Cinder exported is imported, and reads what we export: ${store}`, async (t) => {
    const { maker, other } = await sceneOf(t)
    const record = await maker.backup(await maker.newVolume(diskBytes('stock', volumeBytes)))
    const ours = await exportOf(maker, record)

    const [theirs, read] = (await runPeer('backup_url.py', {
      input: [{ encode: record }, { decode: ours.backup_url }],
    })) as [string, JsonObject]

    assert.equal(read['service_metadata'], record.service_metadata)
    assert.equal(read['object_count'], record.object_count)
    const backup_service = String(record.service)
    const end = await imported(maker, record.id, { backup_service, backup_url: theirs }, other)
    assert.equal(end.eventType, 'backup.import.end', String(end.payload['message']))
    assert.equal(recordIn(end).status, 'available')
  })

  test(`a record without its objects is not imported, and nothing is lost: ${store}`, async (t) => {
    const { maker, other } = await sceneOf(t)
    const bytes = diskBytes('kept', volumeBytes)
    const record = await maker.backup(await maker.newVolume(bytes))
    const exported = await exportOf(maker, record)
    const id = randomUUID()
    const nowhere = await exportOf(maker, {
      ...record,
      id,
      service_metadata: String(record.service_metadata).replace(record.id, id),
    })

    const ends = [
      await imported(maker, id, nowhere, other),
      await imported(maker, randomUUID(), exported, other),
      await imported(maker, record.id, { ...exported, backup_url: 'no such thing' }, other),
      await imported(maker, record.id, { ...exported, backup_service: 'x.y.Other' }, other),
    ]

    assert.deepEqual(
      ends.map(({ eventType, payload }) => [eventType, payload['code'], payload['status']]),
      ['BACKUP_NOT_FOUND', 'RECORD_MISMATCH', 'RECORD_INVALID', 'BACKUP_NOT_OURS'].map((code) => [
        'backup.import.error',
        code,
        'error',
      ]),
    )
    for (const end of ends) {
      assert.ok(recordIn(end).fail_reason?.startsWith(`${end.payload['code']}: `))
    }
    const restored = await maker.restore(record, noise('dirt', volumeBytes))
    assert.equal(sha256(restored), sha256(bytes))
  })
}

test("another driver's import goes round to the agent that has it", async (t) => {
  const posix = await drivenAgent(t)
  const swift = await otherHost(t, posix, swiftSettings(byUrl()))
  const record = await posix.backup(await posix.newVolume(diskBytes('round', volumeBytes)))
  const exported = await exportOf(posix, record)
  const backup_hosts = [posix.home.host, 'no-such-host', swift]

  const end = await imported(posix, record.id, { ...exported, backup_hosts }, swift)

  assert.equal(end.eventType, 'backup.import.end', String(end.payload['message']))
  assert.equal(recordIn(end).host, posix.home.host)
})

test('send exports a record and resets its status, and keeps it', async (t) => {
  const agent = await drivenAgent(t)
  const record = await agent.backup(await agent.newVolume(noise('send', 1000)))
  const file = path.join(agent.home.folder, 'record.json')
  await writeFile(file, JSON.stringify(record))
  const send = async (...words: readonly string[]) => {
    const where = ['--record', file, '--config-file', agent.home.configFile]
    const { stdout } = await promisify(execFile)(agentCommand, ['send', ...words, ...where])
    return stdout
  }

  const exported = await send('export_record')
  await send('reset_status', '--status', 'error')

  assert.deepEqual(JSON.parse(exported), await exportOf(agent, record))
  assert.deepEqual(JSON.parse(await readFile(file, 'utf8')), { ...record, status: 'error' })
})

test('send METHOD waits for an answer as long as rpc_response_timeout says', async (t) => {
  const { agent, home } = await drivenAgent(t, { DEFAULT: { rpc_response_timeout: 2 } })
  assert.equal(await agent.end('SIGTERM'), 0) // Its queue stays.
  const words = ['send', 'check_support_to_force_delete', '--args', '{}', '--host', home.host]

  const sent = promisify(execFile)(agentCommand, [...words, '--config-file', home.configFile])

  await assert.rejects(sent, /CALL_TIMED_OUT.* was not answered in 2 s/s)
})

test('send imports by a record or by an export, and keeps the record only where that ends well', async (t) => {
  const maker = await drivenAgent(t)
  const bytes = noise('import', 1000)
  const record = await maker.backup(await maker.newVolume(bytes))
  const { backup_service, backup_url } = await exportOf(maker, record)
  const by = ['--backup-service', String(backup_service), '--backup-url', String(backup_url)]
  const knowing = { DEFAULT: { backup_posix_path: maker.home.store } }
  const file = path.join(maker.home.folder, 'import.json')
  const send = (agent: DrivenAgent, ...words: readonly string[]) => {
    const where = ['--record', file, '--config-file', agent.home.configFile]
    return promisify(execFile)(agentCommand, ['send', 'import_record', ...words, ...where])
  }

  for (const words of [[], by]) {
    await writeFile(file, words.length === 0 ? JSON.stringify(record) : '{}')
    const agent = await drivenAgent(t, knowing)
    await send(agent, ...words)
    const kept = JSON.parse(await readFile(file, 'utf8')) as BackupRecord
    assert.deepEqual([kept.status, kept.host], ['available', agent.home.host])
    assert.equal(kept.service_metadata, record.service_metadata)
    assert.equal(sha256(await agent.restore(kept, Buffer.alloc(1000))), sha256(bytes))
  }

  const elsewhere = await drivenAgent(t)
  await writeFile(file, JSON.stringify(record))
  await assert.rejects(send(elsewhere), { code: 10 })
  assert.deepEqual(JSON.parse(await readFile(file, 'utf8')), record)
  await assert.rejects(send(elsewhere, ...by.slice(0, 2)), /go together/)
})

test("Cinder's own client exports, and is refused by the exception that its API knows", async (t) => {
  const agent = await drivenAgent(t)
  await using client = await osloClient({ transportUrl: agent.vhost.transportUrl }, 'cinder-backup')
  const record = await agent.backup(await agent.newVolume(noise('oslo', 1000)))
  const { userId: user_id, projectId: project_id } = agent.context
  const context = { user_id, project_id, request_id: `req-${randomUUID()}` }
  const call = (fields: Partial<BackupRecord>) => {
    const args = { backup: { $object: 'Backup', data: { ...record, ...fields } } }
    const { host: server } = agent.home
    return client.call({ method: 'export_record', server, args, context, version: '2.0' })
  }

  const exported = await call({})
  const { failure } = await call({ status: 'error' })

  assert.deepEqual(exported.result, await exportOf(agent, record))
  assert.equal(
    `${failure?.module}.${failure?.class}`,
    'cinder.exception_Remote.InvalidBackup_Remote',
  )
  const [text] = (failure?.message ?? '').split('\n')
  assert.equal(
    text,
    'Invalid backup: Export backup aborted, expected backup status available but got error.',
  )
})

test("levels are told and set by Cinder's own client, and what is logged changes at once", async (t) => {
  const agent = await drivenAgent(t)
  await using client = await osloClient({ transportUrl: agent.vhost.transportUrl }, 'cinder-backup')
  const { host: server } = agent.home
  const context = { request_id: `req-${randomUUID()}`, is_admin: true }
  const request = { server, context, version: '2.1' }
  const logRequest = (prefix: string, level: string | null) => ({
    log_request: { $object: 'LogLevel', data: { prefix, level } },
  })
  const levels = async () => {
    const answer = await client.call({
      ...request,
      method: 'get_log_levels',
      args: logRequest('cinder.backup', null),
    })
    return JSON.stringify(answer.result)
  }
  const received = () => agent.agent.log().match(/DEBUG \S+ .*request received/g)?.length ?? 0

  const before = await levels()
  assert.equal(received(), 0)
  await client.cast({ ...request, method: 'set_log_levels', args: logRequest('', 'debug') })
  await agent.agent.logged(/log levels set/)
  const after = await levels()

  assert.match(before, /"prefix":"cinder_backup_agent.jobs","level":"INFO"/)
  assert.ok(!before.includes('DEBUG') && !after.includes('INFO'), after)
  assert.equal(received(), 1)
  const wrong = { ...request, method: 'set_log_levels', args: logRequest('', 'LOUD') }
  const { failure } = await client.call(wrong)
  assert.equal(failure?.class, 'InvalidInput_Remote')
})
