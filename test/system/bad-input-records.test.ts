// Records that do not fit: of another backup, another project, another place.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import { encodeCast } from '#src/adapters/rpc/oslo-request.ts'
import { backupToPrimitive } from '#src/adapters/rpc/versioned-object.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { ErrorCode } from '#src/domain/errors.ts'
import type { JsonObject } from '#src/domain/json.ts'
import { aContext } from '../support/builders.ts'
import { chunkBytes, drivenAgent, wholeFile } from '../support/driven-agent.ts'
import { assertFails, assertRefused, assertServes } from '../support/good-message.ts'
import { keystoneToken } from '../support/keystone.ts'
import { startScheduler } from '../support/scheduler.ts'
import { steadyPeer } from '../support/steady-peer.ts'
import { byUrl, contextOf, swiftAgent, swiftSettings } from '../support/swift-agent.ts'
import { diskBytes, noise, sha256 } from '../support/volume-data.ts'
import { storedFiles } from '../support/volume-files.ts'

const agent = await drivenAgent(wholeFile)
const { home, scheduler } = agent
const bytes = diskBytes('records', 2 * chunkBytes + 5)
const volumeId = await agent.newVolume(bytes)
const full = await agent.backup(volumeId)
const sibling = await agent.backup(volumeId)
const otherVolumeId = await agent.newVolume(diskBytes('other', chunkBytes))
const other = await agent.backup(otherVolumeId)
const kept = await storedFiles(home)

const nested = (record: BackupRecord, parent: BackupRecord): JsonObject => ({
  backup: backupToPrimitive({ record, parent: { record: parent, parent: null } }),
})

async function assertNothingHarmed(): Promise<void> {
  const now = await storedFiles(home)
  for (const file of kept) assert.ok(now.includes(file), `${file} is gone`)
}

test('a parent that nobody knows is named, with what to do', async () => {
  const parentId = randomUUID()
  const record = agent.asked(volumeId, { parent_id: parentId })
  const text = new RegExp(`the parent ${parentId} of backup ${record.id} is neither in the request`)
  await assertFails(agent, 'create', { record }, 'PARENT_NOT_FOUND', text)
  await assertNothingHarmed()
})

test('a parent of another volume is refused, nested or known', async () => {
  const record = agent.asked(volumeId, { parent_id: other.id })
  const text = new RegExp(
    `the parent ${other.id} of backup ${record.id} is a backup of volume ${otherVolumeId}`,
  )
  for (const extra of [{}, nested(record, other)]) {
    const asked = { record: { ...record, id: record.id }, extra }
    await assertFails(agent, 'create', asked, 'PARENT_MISMATCH', text)
  }
  await assertNothingHarmed()
})

test('a parent of another project is refused, unless an admin asks', async () => {
  const foreign = { ...full, project_id: randomUUID().replaceAll('-', '') }
  const record = agent.asked(volumeId, { parent_id: full.id })
  const extra = nested(record, foreign)
  const text = new RegExp(`the parent ${full.id} of backup ${record.id} belongs to project`)
  await assertFails(agent, 'create', { record, extra }, 'PROJECT_MISMATCH', text)
})

test('a parent that was never finished cannot be built on', async () => {
  const unborn = agent.asked(volumeId, { service_metadata: null })
  const parent = {
    ...full,
    id: unborn.id,
    service_metadata: `volume_${volumeId}_20200101000000_backup_${unborn.id}`,
  }
  const record = agent.asked(volumeId, { parent_id: unborn.id })
  const text = new RegExp(`${unborn.id} cannot be a parent: it has no sha256file`)
  await assertFails(
    agent,
    'create',
    { record, extra: nested(record, parent) },
    'PARENT_MISMATCH',
    text,
  )
})

test('another project may not have the backup restored or deleted', async (t) => {
  const stranger = await startScheduler(
    t,
    agent.vhost.transportUrl,
    aContext({ projectId: 'd1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1' }),
  )
  const text = new RegExp(`backup ${full.id} belongs to project .*only an admin`)
  for (const operation of ['restore', 'delete'] as const) {
    const extra = operation === 'restore' ? { volume_id: volumeId } : {}
    const asking = stranger.ask(operation, full, extra)
    await assert.rejects(asking, { code: 'PROJECT_MISMATCH', message: text })
    const { payload } = await scheduler.ended(operation, full.id)
    assert.equal(payload['code'], 'PROJECT_MISMATCH')
  }
  await assertServes(agent)
  await assertNothingHarmed()
})

const prefixes: readonly (readonly [string, string, RegExp])[] = [
  ['empty', '', /does not start with volume_/],
  ["another volume's", other.service_metadata ?? '', /does not start with volume_/],
  ["another backup's", sibling.service_metadata ?? '', /does not contain the backup id/],
  ["all of the volume's", `volume_${volumeId}`, /does not contain the backup id/],
  [
    'out of the container',
    `volume_${volumeId}/../${full.id}`,
    /contains an empty part, \. or \.\./,
  ],
  ['the id alone', full.id, /does not start with volume_/],
  ['with a line end', `volume_${volumeId}_\n_backup_${full.id}`, /contains control characters/],
  ['endless', `volume_${volumeId}_backup_${full.id}${'x'.repeat(300)}`, /characters, 255 at most/],
]

for (const [name, prefix, said] of prefixes) {
  test(`a service_metadata that is ${name} reads nothing and removes nothing`, async () => {
    for (const operation of ['restore', 'delete'] as const) {
      // Of a backup that this agent never made: its journal has no word in it.
      const record = { ...full, id: full.id, service_metadata: prefix }
      const targetId = await agent.newVolume(noise('target', bytes.length))
      const extra = operation === 'restore' ? { volume_id: targetId } : {}
      await assertRefused(
        agent,
        operation,
        { record, extra },
        'RECORD_MISMATCH',
        /service_metadata|object prefix/,
      )
      const target = await agent.readVolume(targetId)
      assert.equal(sha256(target), sha256(noise('target', bytes.length)))
    }
    const id = randomUUID()
    const foreign = {
      ...full,
      id,
      service_metadata: name.startsWith('another') ? prefix : prefix.replaceAll(full.id, id),
    }
    await assertFails(agent, 'delete', { record: foreign }, 'RECORD_MISMATCH', said)
    await assertNothingHarmed()
  })
}

test('a backup that has the id of its volume does not mean all backups of that volume', async () => {
  const record = { ...full, id: volumeId, service_metadata: `volume_${volumeId}` }
  await assertFails(
    agent,
    'delete',
    { record },
    'RECORD_MISMATCH',
    /does not contain the backup id/,
  )
  await assertNothingHarmed()
})

test('a record whose place differs from the one that this agent made is refused', async () => {
  const elsewhere = full.service_metadata?.replace('_2', '_1') ?? ''
  const fields: readonly (readonly [Partial<BackupRecord>, RegExp])[] = [
    [{ container: 'elsewhere' }, /the request says container elsewhere, this agent made it with/],
    [{ service_metadata: elsewhere }, /the request says service_metadata/],
    [{ volume_id: otherVolumeId }, /the request says volume_id/],
  ]
  for (const [field, text] of fields) {
    for (const operation of ['restore', 'delete'] as const) {
      const record = { ...full, ...field }
      const extra = operation === 'restore' ? { volume_id: otherVolumeId } : {}
      await assertRefused(agent, operation, { record, extra }, 'RECORD_MISMATCH', text)
    }
  }
  await assertNothingHarmed()
})

const posixContainers = ['../outside', 'a/../../b', '/etc', 'a//b', '.', '..', 'a/.', 'a\nb', 'a/']

for (const container of posixContainers) {
  test(`POSIX: a container named ${JSON.stringify(container)} is refused`, async () => {
    const record = agent.asked(volumeId, { container })
    const event = await assertFails(
      agent,
      'create',
      { record },
      'CONTAINER_INVALID',
      /cannot use container/,
    )
    assert.ok(String(event.payload['message']).includes(JSON.stringify(container)))
    const id = randomUUID()
    const prefix = `volume_${volumeId}_20200101000000_backup_${id}`
    const foreign = { ...full, id, container, service_metadata: prefix }
    await assertFails(
      agent,
      'delete',
      { record: foreign },
      'CONTAINER_INVALID',
      /cannot use container/,
    )
    await assertNothingHarmed()
  })
}

test('Swift: a container with a slash or dots, or too long, is refused before any request', async (t) => {
  const swift = await swiftAgent(t)
  const id = await swift.newVolume(noise('swift', chunkBytes))
  for (const container of ['a/b', '..', '.', 'x'.repeat(257), '']) {
    const record = swift.asked(id, { container })
    await assertFails(swift, 'create', { record }, 'CONTAINER_INVALID', /cannot use container/)
  }
})

test('a wrong token is told as such, and nothing is stored', async (t) => {
  const user = await keystoneToken('demo')
  const swift = await drivenAgent(
    t,
    swiftSettings(byUrl()),
    contextOf(user, { authToken: 'gAAAAABnobody' }),
  )
  const record = swift.asked(await swift.newVolume(noise('token', 4096)))
  const { payload } = await swift.scheduler.run('create', record)
  assert.equal(payload['code'], 'TOKEN_EXPIRED')
  assert.ok(!swift.agent.log().includes('gAAAAABnobody'))
  await assert.rejects(swift.scheduler.send('make_coffee', {}), { code: 'METHOD_UNKNOWN' })
})

test("a backup of another driver's is refused, naming both", async () => {
  const record = { ...full, service: 'cinder.backup.drivers.ceph.CephBackupDriver' }
  const text = new RegExp(`backup ${full.id} was made by .*Ceph.*configured for .*Posix`)
  await assertRefused(agent, 'delete', { record }, 'BACKUP_NOT_OURS', text)
  await assertNothingHarmed()
})

test('a restore of a backup without place, known to nobody, says what to send', async () => {
  const record = agent.asked(volumeId, { status: 'available' })
  const extra = { volume_id: volumeId }
  const text = new RegExp(`backup ${record.id} has no container or no service_metadata`)
  await assertFails(agent, 'restore', { record, extra }, 'BACKUP_NOT_FOUND', text)
})

test('a refusal that is delivered twice is told of once', async (t) => {
  const peer = await steadyPeer(t, agent.vhost.amqpUrl)
  const record = agent.asked(volumeId, { status: 'error' })
  const message = encodeCast(
    'openstack',
    { topic: 'cinder-backup', server: null },
    {
      method: 'create_backup',
      version: '2.0',
      args: { backup: backupToPrimitive({ record, parent: null }) },
      context: aContext(),
      uniqueId: randomUUID().replaceAll('-', ''),
      replyTo: null,
    },
  )
  for (let copy = 0; copy < 3; copy += 1) await peer.publish(message)
  await scheduler.ended('create', record.id)
  await assertServes(agent)
  const told = scheduler.events.filter(({ payload }) => payload['backup_id'] === record.id)
  assert.deepEqual(
    told.map(({ payload }) => payload['code']),
    ['BACKUP_INVALID_STATE' satisfies ErrorCode],
  )
})

test('after all this the good backup is restored as it was', async () => {
  assert.equal(sha256(await agent.restore(full, noise('dirt', bytes.length))), sha256(bytes))
})
