// Whoever resets a status is obeyed at once; what was in work is cancelled, and the backup is not lost.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { type TestContext, test } from 'node:test'

import type { HeardEvent } from '#src/adapters/rpc/rabbit-scheduler.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import { monotonicMs } from '#src/lib/clock.ts'
import { agentHome, startAgent } from '../support/agent.ts'
import { chunkBytes, type DrivenAgent, drivenAgent } from '../support/driven-agent.ts'
import { osloClient, osloListener } from '../support/oslo.ts'
import { eventually } from '../support/rabbit.ts'
import { stockCalls } from '../support/stock-calls.ts'
import { diskBytes, noise, sha256 } from '../support/volume-data.ts'
import { storedFiles } from '../support/volume-files.ts'

const disk = diskBytes('reset', 24 * chunkBytes)

// With one job in hand it has left the shared topic: what is for it goes to its host.
const slowAgent = (t: TestContext) =>
  drivenAgent(t, { cinder_backup_agent: { requests_max: 8, jobs_max: 1 } })

function reset({ scheduler }: DrivenAgent, backup: BackupRecord, status: string, host?: string) {
  return scheduler.send('reset_status', { backup: { ...backup }, status }, host)
}

const typesOf = ({ scheduler }: DrivenAgent, backupId: string) =>
  scheduler.events
    .filter(({ payload }) => payload['backup_id'] === backupId)
    .map(({ eventType }) => eventType)
    .filter((type) => !type.endsWith('progress'))

/** Begins a restore of the disk; resolves to its target once something is written there. */
async function restoring(
  agent: DrivenAgent,
  record: BackupRecord,
  host = agent.home.host,
): Promise<string> {
  const volume_id = await agent.newVolume(Buffer.alloc(disk.length))
  await agent.scheduler.ask('restore', record, { volume_id }, host)
  await eventually(async () => {
    const written = await agent.readVolume(volume_id)
    return written.subarray(0, chunkBytes).some((byte) => byte > 0)
  }, 'the first chunk is written')
  return volume_id
}

function assertRestored({ payload }: HeardEvent, source: Uint8Array, target: Uint8Array): void {
  const extents = payload['restored_extents'] as readonly (readonly [number, number])[]
  assert.ok(extents.length > 0)
  for (const [offset, length] of extents) {
    assert.ok(
      Buffer.compare(
        target.subarray(offset, offset + length),
        source.subarray(offset, offset + length),
      ) === 0,
    )
  }
}

test('a reset of a backup that is restored cancels the restore; the backup can be restored', async (t) => {
  const agent = await slowAgent(t)
  const record = await agent.backup(await agent.newVolume(disk))
  const target = await restoring(agent, record)

  const startMs = monotonicMs()
  await reset(agent, { ...record, status: 'restoring' }, 'available', agent.home.host)
  const cancelled = await agent.scheduler.ended('restore', record.id)
  const ms = Math.round(monotonicMs() - startMs)
  const end = await agent.scheduler.ended('reset_status', record.id)

  assert.equal(cancelled.eventType, 'backup.restore.error')
  assert.equal(cancelled.payload['code'], 'OPERATION_CANCELLED')
  assert.equal(cancelled.payload['target'], 'unusable')
  assertRestored(cancelled, disk, await agent.readVolume(target))
  assert.ok(ms <= 2000, `stopped after ${ms} ms`)
  assert.equal(end.eventType, 'backup.reset_status.end')
  const now = end.payload['record'] as unknown as BackupRecord
  assert.deepEqual({ ...now, restore_volume_id: null }, { ...record, status: 'available' })
  const restored = await agent.restore(now, noise('dirt', disk.length))
  assert.equal(sha256(restored), sha256(disk))
  t.diagnostic(`stopped in ${ms} ms`)
})

test('a reset of a backup in the making gives it up, and a delete removes what was stored', async (t) => {
  const agent = await slowAgent(t)
  const asked = agent.asked(await agent.newVolume(disk))
  await agent.scheduler.ask('create', asked)
  await eventually(async () => (await storedFiles(agent.home)).length >= 3, 'the first objects')

  await reset(agent, agent.scheduler.recordOf(asked.id), 'error', agent.home.host)
  const end = await agent.scheduler.ended('reset_status', asked.id)

  assert.deepEqual(typesOf(agent, asked.id), [
    'backup.create.start',
    'backup.create.end',
    'backup.reset_status.end',
  ])
  const cancelled = await agent.scheduler.ended('create', asked.id)
  assert.equal(cancelled.payload['status'], 'deleting')
  assert.equal(end.payload['status'], 'error')
  const left = end.payload['record'] as unknown as BackupRecord
  assert.equal(left.status, 'error')
  assert.ok((await storedFiles(agent.home)).length >= 3)
  await agent.runWell('delete', left)
  assert.deepEqual(await storedFiles(agent.home), [])
})

test('a reset that another agent gets is passed on to the host that restores', async (t) => {
  const agent = await drivenAgent(t)
  const record = await agent.backup(await agent.newVolume(disk))
  const slow = await agentHome(t, agent.vhost.transportUrl, {
    DEFAULT: { backup_posix_path: agent.home.store },
    cinder_backup_agent: {
      ...{ requests_max: 2, jobs_max: 1 },
      volume_paths: `${agent.home.volumes}/volume-{volume_id}`,
    },
  })
  await startAgent(t, slow)
  await restoring(agent, record, slow.host)
  await eventually(async () => {
    const shared = (await agent.vhost.queues()).find(({ name }) => name === 'cinder-backup')
    return shared?.consumers === 1
  }, 'the busy agent leaves the shared topic to the other one')

  await reset(agent, agent.scheduler.recordOf(record.id), 'error')
  const cancelled = await agent.scheduler.ended('restore', record.id)
  const end = await agent.scheduler.ended('reset_status', record.id)

  assert.match(agent.agent.log(), /cancel passed on/)
  assert.equal(cancelled.payload['host'], slow.host)
  assert.equal(cancelled.payload['target'], 'unusable')
  assert.equal(end.payload['status'], 'error')
})

test("Cinder's own client resets, hears of it in Cinder's form, and is refused by its exception", async (t) => {
  const agent = await drivenAgent(t)
  const { transportUrl } = agent.vhost
  await using client = await osloClient({ transportUrl }, 'cinder-backup')
  await using listener = await osloListener({ transportUrl })
  const record = await agent.backup(await agent.newVolume(noise('oslo', 1000)))
  const { userId: user_id, projectId: project_id } = agent.context
  const context = { user_id, project_id, request_id: `req-${randomUUID()}` }
  const request = { method: 'reset_status', server: agent.home.host, context, version: '2.0' }
  const args = (fields: Partial<BackupRecord>) => ({
    backup: { $object: 'Backup', data: { ...record, ...fields } },
    status: 'error',
  })

  await client.cast({ ...request, args: args({}) })
  const heard = await listener.find(({ event_type }) => event_type === 'backup.reset_status.end')
  const { failure } = await client.call({ ...request, args: args({ service: 'x.y.Other' }) })

  const { record: told, run, sequence, ...payload } = heard.payload
  const stock = stockCalls('reset-status-error')[1]?.['payload'] as Record<string, unknown>
  assert.deepEqual(Object.keys(payload), Object.keys(stock))
  assert.equal(payload['status'], 'error')
  assert.deepEqual(told, { ...record, status: 'error' })
  assert.ok(typeof run === 'string' && typeof sequence === 'number')
  assert.equal(
    `${failure?.module}.${failure?.class}`,
    'cinder.exception_Remote.InvalidBackup_Remote',
  )
  assert.match(failure?.message ?? '', /^Invalid backup: Reset backup status aborted, the backup/)
})
