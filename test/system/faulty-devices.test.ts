// Devices that fail, vanish or change their size under the agent: each job ends as the runbook says.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readdir, symlink, truncate } from 'node:fs/promises'
import { type TestContext, test } from 'node:test'

import { chunkBytes, type DrivenAgent, drivenAgent, wholeFile } from '../support/driven-agent.ts'
import { faultyDevice } from '../support/faulty-device.ts'
import { assertFails } from '../support/good-message.ts'
import { loopDevice, refreshLoopSize } from '../support/loop-device.ts'
import { eventually } from '../support/rabbit.ts'
import { noise, sha256 } from '../support/volume-data.ts'
import { storedFiles } from '../support/volume-files.ts'

const agent = await drivenAgent(wholeFile)

/** One that takes its time, so that something can happen to its volumes meanwhile. */
const slowAgent = (t: TestContext) => drivenAgent(t, { cinder_backup_agent: { requests_max: 20 } })

/** The id of a volume that is this device. */
async function volumeOn({ path }: { readonly path: string }, who: DrivenAgent): Promise<string> {
  const id = randomUUID()
  await symlink(path, who.volumeFile(id))
  return id
}

/** Asks for a backup and returns when it is under way. */
async function begin(who: DrivenAgent, volumeId: string) {
  const record = who.asked(volumeId)
  await who.scheduler.ask('create', record)
  await eventually(async () => (await storedFiles(who.home)).length >= 2, 'the first objects')
  return record
}

async function assertNoMetadata(who: DrivenAgent, backupId: string): Promise<void> {
  const isOfBackup = (file: string) => file.includes(backupId) && file.endsWith('_metadata')
  assert.deepEqual((await storedFiles(who.home)).filter(isOfBackup), [])
}

test('a backup of a device with bad sectors fails and names them; when they are good again it succeeds', async () => {
  const bytes = noise('bad sectors', 8 * chunkBytes)
  await using device = await faultyDevice(bytes)
  const id = await volumeOn(device, agent)
  const inThird = 2 * chunkBytes
  await device.failReads([
    { offsetBytes: inThird + 8192, lengthBytes: 4096 },
    { offsetBytes: inThird + 65_536, lengthBytes: 12_288 },
  ])

  const record = agent.asked(id)
  const text = new RegExp(
    `in 2 range\\(s\\) \\(4096 bytes at offset ${inThird + 8192}, 12288 bytes at offset ${inThird + 65_536}\\)`,
  )
  const event = await assertFails(agent, 'create', { record }, 'VOLUME_READ_FAILED', text)
  assert.equal(event.payload['status'], 'error')
  assert.match(String(event.payload['fail_reason']), /^VOLUME_READ_FAILED: /)
  assert.match(agent.agent.log(), /bad_ranges":\[\{"offset_bytes":532480,/)
  await assertNoMetadata(agent, record.id)

  await device.failReads([])
  const good = await agent.backup(id)
  assert.equal(sha256(await agent.restore(good, noise('dirt', bytes.length))), sha256(bytes))
})

test('a device that vanishes while it is backed up ends the backup, and nothing takes its place', async (t) => {
  const slow = await slowAgent(t)
  await using device = await faultyDevice(noise('vanishes', 64 * chunkBytes))
  const id = await volumeOn(device, slow)
  const record = await begin(slow, id)
  const before = await readdir(slow.home.volumes)

  await device.vanish()

  const { eventType, payload } = await slow.scheduler.ended('create', record.id)
  assert.equal(eventType, 'backup.create.error')
  assert.equal(payload['code'], 'VOLUME_READ_FAILED')
  assert.deepEqual(await readdir(slow.home.volumes), before)
  await assertNoMetadata(slow, record.id)
})

test('a device that grows while it is backed up is backed up as it was, with a warning', async (t) => {
  const slow = await slowAgent(t)
  await using device = await loopDevice(24 * chunkBytes)
  const id = await volumeOn(device, slow)
  const record = await begin(slow, id)

  await truncate(device.file, 32 * chunkBytes)
  await refreshLoopSize(device.path)

  const { eventType } = await slow.scheduler.ended('create', record.id)
  assert.equal(eventType, 'backup.create.end')
  await slow.agent.logged(/the device has grown while it was backed up/)
  const restored = await slow.restore(
    await slow.scheduler.recordOf(record.id),
    noise('dirt', 24 * chunkBytes),
  )
  assert.equal(sha256(restored), sha256(new Uint8Array(24 * chunkBytes)))
})

test('a device that shrinks while it is backed up ends the backup', async (t) => {
  const slow = await slowAgent(t)
  await using device = await loopDevice(64 * chunkBytes)
  const id = await volumeOn(device, slow)
  const record = await begin(slow, id)

  await truncate(device.file, chunkBytes)
  await refreshLoopSize(device.path)

  const { eventType, payload } = await slow.scheduler.ended('create', record.id)
  assert.equal(eventType, 'backup.create.error')
  // Until the kernel knows the new size, reads behind it are input/output errors.
  assert.match(String(payload['code']), /^VOLUME_(CHANGED|READ_FAILED)$/)
  await assertNoMetadata(slow, record.id)
})

test('a restore onto a device that loses what is written fails, and says that the target is unusable', async () => {
  const bytes = noise('lost', 4 * chunkBytes)
  const backup = await agent.backup(await agent.newVolume(bytes))
  await using device = await faultyDevice(new Uint8Array(bytes.length))
  const id = await volumeOn(device, agent)
  await device.failWrites([{ offsetBytes: chunkBytes, lengthBytes: 4096 }])

  const asked = { record: backup, extra: { volume_id: id } }
  const event = await assertFails(agent, 'restore', asked, 'VOLUME_WRITE_FAILED', /volume-/)
  assert.equal(event.payload['target'], 'unusable')
  assert.equal(event.payload['status'], 'available', 'the backup is still good')
})
