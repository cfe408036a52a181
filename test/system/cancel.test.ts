// Whoever cancels is obeyed at once, and nothing of what was begun stays behind.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import type { HeardEvent } from '#src/adapters/rpc/rabbit-scheduler.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import { monotonicMs } from '#src/lib/clock.ts'
import { chunkBytes, type DrivenAgent, drivenAgent } from '../support/driven-agent.ts'
import { faultProxy } from '../support/fault-proxy.ts'
import { keystoneToken } from '../support/keystone.ts'
import { eventually } from '../support/rabbit.ts'
import { services } from '../support/services.ts'
import { swiftContainer } from '../support/stores.ts'
import { contextOf, swiftSettings } from '../support/swift-agent.ts'
import { diskBytes, sha256 } from '../support/volume-data.ts'
import { storedFiles } from '../support/volume-files.ts'

const disk = diskBytes('cancel', 40 * chunkBytes)

type Scene = {
  readonly agent: DrivenAgent
  /** The names of what the store has of this test. */
  readonly stored: () => Promise<readonly string[]>
}

/** `requestsMax`: of the store, a second; a backup of the disk is about fifty. */
async function posixScene(t: TestContext, requestsMax: number, jobsMax = 0): Promise<Scene> {
  const agent = await drivenAgent(t, {
    cinder_backup_agent: { requests_max: requestsMax, jobs_max: jobsMax },
  })
  return { agent, stored: () => storedFiles(agent.home) }
}

async function swiftScene(
  t: TestContext,
  requestsMax: number,
  swiftUrl = services().swift.url,
): Promise<Scene> {
  const user = await keystoneToken('demo')
  const container = await swiftContainer(t, async () => ({ url: user.swiftUrl, token: user.token }))
  const options = {
    backup_swift_url: `${swiftUrl}/v1/AUTH_`,
    backup_swift_container: container.name,
  }
  const settings = swiftSettings(options, { cinder_backup_agent: { requests_max: requestsMax } })
  const agent = await drivenAgent(t, settings, contextOf(user))
  return { agent, stored: async () => (await container.list()).map(({ name }) => name) }
}

/** Begins a backup and resolves to the record of its `.start` when the first objects are there. */
async function begun({ agent, stored }: Scene): Promise<BackupRecord> {
  const { scheduler } = agent
  const record = agent.asked(await agent.newVolume(disk))
  await scheduler.ask('create', record)
  await eventually(async () => (await stored()).length >= 3, 'the first objects')
  return scheduler.recordOf(record.id)
}

/** Cancels; resolves to the end of the create and how long it took. */
async function cancelled(
  { scheduler }: DrivenAgent,
  record: BackupRecord,
  host: string | null,
): Promise<{ readonly end: HeardEvent; readonly ms: number }> {
  const startMs = monotonicMs()
  await scheduler.ask('delete', record, {}, host)
  const end = await scheduler.ended('create', record.id)
  return { end, ms: Math.round(monotonicMs() - startMs) }
}

const typesOf = (agent: DrivenAgent, backupId: string) =>
  agent.scheduler.events
    .filter(({ payload }) => payload['backup_id'] === backupId)
    .map(({ eventType }) => eventType)
    .filter((type) => !type.endsWith('progress'))

const cases = [
  ['POSIX, sent to the host', (t: TestContext) => posixScene(t, 10), true],
  ['POSIX, sent to the bare topic', (t: TestContext) => posixScene(t, 10), false],
  ['Swift, sent to the host', (t: TestContext) => swiftScene(t, 10), true],
  ['Swift, sent to the bare topic, at full speed', (t: TestContext) => swiftScene(t, 0), false],
] as const

for (const [name, sceneOf, toHost] of cases) {
  test(`a cancelled backup stops within 2 s and leaves no object: ${name}`, async (t) => {
    const scene = await sceneOf(t)
    const { agent, stored } = scene
    const record = await begun(scene)
    const before = (await stored()).length

    const { end, ms } = await cancelled(agent, record, toHost ? agent.home.host : null)

    assert.equal(end.eventType, 'backup.create.end')
    assert.equal(end.payload['status'], 'deleting')
    assert.ok(ms <= 2000, `stopped after ${ms} ms`)
    const deleted = await agent.scheduler.ended('delete', record.id)
    assert.equal(deleted.payload['status'], 'deleted')
    assert.deepEqual(typesOf(agent, record.id), [
      'backup.create.start',
      'backup.create.end',
      'backup.delete.start',
      'backup.delete.end',
    ])
    assert.deepEqual(await stored(), [])
    await sleep(3000)
    assert.deepEqual(await stored(), [], 'nothing came late')
    t.diagnostic(`stopped in ${ms} ms; there were ${before} objects`)
  })
}

test('a backup whose store answers nothing is cancelled within 2 s all the same', async (t) => {
  const proxy = await faultProxy(t, services().swift.url)
  const scene = await swiftScene(t, 20, proxy.origin)
  const { agent, stored } = scene
  const record = agent.asked(await agent.newVolume(disk))
  const last = /-0000[3-9]$/
  proxy.inject({ kind: 'hang' }, { method: 'PUT', path: last, times: 'always' })
  await agent.scheduler.ask('create', record)
  const isHanging = () => proxy.seen.some(({ method, path }) => method === 'PUT' && last.test(path))
  await eventually(isHanging, 'an upload that nobody answers')

  const { end, ms } = await cancelled(agent, agent.scheduler.recordOf(record.id), null)

  assert.equal(end.payload['status'], 'deleting')
  assert.ok(ms <= 2000, `stopped after ${ms} ms`)
  await agent.scheduler.ended('delete', record.id)
  assert.deepEqual(await stored(), [])
})

test('a backup that waits for its turn is cancelled without a turn; others are left alone', async (t) => {
  const { agent, stored } = await posixScene(t, 10, 1)
  const { scheduler, home } = agent
  const [first, second, third] = await Promise.all(
    [1, 2, 3].map(async () => agent.asked(await agent.newVolume(disk))),
  )
  assert.ok(first && second && third)
  for (const record of [first, second, third]) await scheduler.ask('create', record, {}, home.host)
  await eventually(async () => (await stored()).length >= 3, 'the first runs')

  const { end, ms } = await cancelled(agent, second, home.host)
  assert.equal(end.payload['status'], 'deleting')
  assert.ok(ms <= 2000, `it took ${ms} ms`)
  assert.deepEqual(typesOf(agent, first.id), ['backup.create.start'], 'the first goes on')
  assert.deepEqual(typesOf(agent, third.id), [], 'the third waits on')
  assert.equal((await scheduler.ended('create', first.id)).payload['status'], 'available')
  assert.equal((await scheduler.ended('delete', second.id)).payload['status'], 'deleted')
  const ofThird = scheduler.events.filter(({ payload }) => payload['backup_id'] === third.id)
  assert.ok(
    ofThird.every(({ eventType }) => !eventType.endsWith('.end')),
    'the delete goes first',
  )
})

test('the objects of a cancelled backup are removed before other jobs have their turn', async (t) => {
  const { agent } = await posixScene(t, 10, 1)
  const { scheduler, home } = agent
  const [first, second] = await Promise.all(
    [1, 2].map(async () => agent.asked(await agent.newVolume(disk))),
  )
  assert.ok(first && second)
  for (const record of [first, second]) await scheduler.ask('create', record, {}, home.host)
  await eventually(() => typesOf(agent, first.id).length === 1, 'the first began')

  await cancelled(agent, scheduler.recordOf(first.id), home.host)
  await scheduler.ended('delete', first.id)
  const { events } = scheduler
  const isEndOfSecond = ({ eventType, payload }: HeardEvent) =>
    eventType === 'backup.create.end' && payload['backup_id'] === second.id
  assert.ok(!events.some(isEndOfSecond), 'the delete waited for the second backup')
})

test('two cancels of one backup are one', async (t) => {
  const scene = await posixScene(t, 10)
  const { agent, stored } = scene
  const record = await begun(scene)
  const { scheduler, home } = agent
  await Promise.all([
    scheduler.ask('delete', record, {}, home.host),
    scheduler.ask('delete', record, {}, home.host),
  ])
  await scheduler.ended('delete', record.id)
  assert.deepEqual(await stored(), [])
  assert.equal(typesOf(agent, record.id).filter((type) => type === 'backup.delete.start').length, 1)
})

test('a cancelled create can be asked for again under the same id', async (t) => {
  const scene = await posixScene(t, 30)
  const { agent } = scene
  const record = await begun(scene)
  await cancelled(agent, record, null)
  await agent.scheduler.ended('delete', record.id)

  const again = agent.asked(record.volume_id, { id: record.id })
  const { payload } = await agent.scheduler.run('create', again)
  assert.equal(payload['status'], 'available')
  const restored = await agent.restore(agent.scheduler.recordOf(record.id), disk.fill(7, 0, 4096))
  assert.equal(sha256(restored), sha256(await agent.readVolume(record.volume_id)))
})

test('a cancelled restore says what it wrote and that the target is unusable', async (t) => {
  const { agent, stored } = await posixScene(t, 16)
  const { scheduler } = agent
  const source = diskBytes('restored', 24 * chunkBytes)
  const record = await agent.backup(await agent.newVolume(source))
  const targetId = await agent.newVolume(Buffer.alloc(source.length))
  await scheduler.ask('restore', record, { volume_id: targetId })
  await eventually(
    async () => (await agent.readVolume(targetId)).subarray(0, chunkBytes).some((byte) => byte > 0),
    'the first chunk is written',
  )

  const startMs = monotonicMs()
  await scheduler.ask('delete', { ...record, status: 'restoring' })
  const { eventType, payload } = await scheduler.ended('restore', record.id)
  const ms = Math.round(monotonicMs() - startMs)

  assert.equal(eventType, 'backup.restore.error')
  assert.equal(payload['code'], 'OPERATION_CANCELLED')
  assert.match(String(payload['message']), new RegExp(`restore of backup ${record.id} cancelled`))
  assert.equal(payload['target'], 'unusable')
  assert.equal(payload['status'], 'available')
  assert.ok(ms <= 2000, `stopped after ${ms} ms`)
  await scheduler.ended('delete', record.id)
  assert.deepEqual(await stored(), [])
  assertExtents(payload['restored_extents'], source, await agent.readVolume(targetId))
  t.diagnostic(`stopped in ${ms} ms`)
})

test('of two restores onto one volume the second is refused, onto two volumes both run', async (t) => {
  const { agent } = await posixScene(t, 16)
  const { scheduler } = agent
  const small = disk.subarray(0, 12 * chunkBytes)
  const record = await agent.backup(await agent.newVolume(small))
  const [one, two] = [
    await agent.newVolume(Buffer.alloc(small.length)),
    await agent.newVolume(Buffer.alloc(small.length)),
  ]
  const copy = await agent.backup(await agent.newVolume(small.subarray(0, chunkBytes)))
  await scheduler.ask('restore', record, { volume_id: one })
  await scheduler.ask('restore', record, { volume_id: two })
  await eventually(
    async () => (await agent.readVolume(one)).some((byte) => byte > 0),
    'the first writes',
  )
  await scheduler.ask('restore', copy, { volume_id: one })

  const { payload } = await scheduler.ended('restore', copy.id)
  assert.equal(payload['code'], 'VOLUME_IN_USE')
  assert.match(String(payload['message']), /is being restored onto already/)
  for (const _ of [one, two]) {
    const { eventType } = await scheduler.ended('restore', record.id)
    assert.equal(eventType, 'backup.restore.end')
  }
  for (const id of [one, two]) assert.equal(sha256(await agent.readVolume(id)), sha256(small))
})

/** What is called restored is; and it is some of it, not all. */
function assertExtents(extents: unknown, source: Buffer, target: Buffer): void {
  assert.ok(Array.isArray(extents) && extents.length > 0)
  let bytes = 0
  for (const [offset, length] of extents as [number, number][]) {
    assert.deepEqual(
      target.subarray(offset, offset + length),
      source.subarray(offset, offset + length),
    )
    bytes += length
  }
  assert.ok(bytes < source.length)
}
