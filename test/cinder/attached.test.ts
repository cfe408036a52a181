// Volumes that a real Cinder does not export as local: our agent has them attached by the unit, with the real os-brick.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { before, type TestContext, test } from 'node:test'
import { promisify } from 'node:util'

import { type AttachUnit, attachUnit } from '../support/attach-unit.ts'
import { type OurPlace, placeOfOurs, stopBackupService } from '../support/backup-service.ts'
import { change, eventually, memberOf, writtenVolume } from '../support/cinder-volumes.ts'
import { type CinderUser, sumOf, volumeFile } from '../support/real-cinder.ts'

const run = promisify(execFile)

before(stopBackupService)

/** A type of os-brick's whose connector takes a device path, and that is not `local`. */
const elsewhere = { export: 'gpfs' }

/** Objects so small that a kill finds some of them written, and some not. */
const manyObjects = ['[DEFAULT]', 'backup_swift_object_size = 4194304']

type Stage = {
  readonly demo: CinderUser
  readonly unit: AttachUnit
  readonly place: OurPlace
  readonly volume: string
  readonly sum: string
}

async function stage(t: TestContext): Promise<Stage> {
  const demo = await memberOf(t) // First: what it made is removed while the agent is there.
  const unit = await attachUnit(t)
  const place = await placeOfOurs(t, [`attach_socket = ${unit.socket}`, ...manyObjects])
  await place.start()
  const [volume, sum] = await writtenVolume(demo)
  await demo.call('POST', `/volumes/${volume}/metadata`, { metadata: elsewhere })
  return { demo, unit, place, volume, sum }
}

const connects = ({ unit }: Stage) => (unit.said().match(/is connected by gpfs/g) ?? []).length

async function isGivenBack({ unit }: Stage, volume: string): Promise<void> {
  assert.deepEqual(unit.connected(), [])
  const { stdout } = await run('/usr/sbin/losetup', ['-n', '-O', 'NAME', '-j', volumeFile(volume)])
  assert.equal(stdout, '')
}

test('a volume, a snapshot and an increment are backed up and restored by the unit', async (t) => {
  const on = await stage(t)
  const { demo, volume, sum } = on
  const full = await demo.createBackup(volume)
  const snapshot = await demo.createSnapshot(volume)
  const later = await change(volume)
  const increment = await demo.createBackup(volume, { incremental: true })
  assert.equal(connects(on), 2)
  // By a temporary volume, whose metadata does not say that it is elsewhere.
  const ofSnapshot = await demo.createBackup(volume, { snapshot_id: snapshot })

  const target = await demo.createVolume({ metadata: elsewhere })
  for (const [backup, wanted] of [
    [increment, later],
    [full, sum],
    [ofSnapshot, sum],
  ] as const) {
    await demo.restore(backup, target)
    assert.equal(await sumOf(target), wanted)
    await isGivenBack(on, target)
  }

  assert.equal(connects(on), 5)
  await isGivenBack(on, volume)
})

test('an agent that is killed has its volumes disconnected at once, and attaches them again', async (t) => {
  const on = await stage(t)
  const { demo, unit, place, volume, sum } = on
  const backup = await demo.beginBackup(volume)
  await eventually(async () => assert.equal(unit.connected().length, 1), 20)
  await place.end('SIGKILL')
  await eventually(async () => assert.deepEqual(unit.connected(), []))
  await place.start()
  await demo.wait('backup', backup, 'available')
  assert.equal(connects(on), 2)

  const target = await demo.createVolume({ metadata: elsewhere })
  await demo.call('POST', `/backups/${backup}/restore`, { restore: { volume_id: target } })
  await eventually(async () => assert.equal(unit.connected().length, 1), 20)
  await place.end('SIGKILL')
  await place.start()
  await demo.wait('volume', target, 'available')

  assert.equal(await sumOf(target), sum)
  for (const each of [volume, target]) await isGivenBack(on, each)
})

test('a unit that is killed in the middle is only missed at the end, until it is there again', async (t) => {
  const on = await stage(t)
  const { demo, unit, volume, sum } = on
  const backup = await demo.beginBackup(volume)
  await eventually(async () => assert.equal(connects(on), 1), 20)
  await unit.kill()
  await unit.start()
  await demo.wait('backup', backup, 'available')

  await isGivenBack(on, volume)
  assert.equal(await sumOf(await demo.restore(backup)), sum)
})

test('without the unit the backup says which unit is not running, and nothing is stuck', async (t) => {
  const on = await stage(t)
  const { demo, unit, volume } = on
  await unit.kill()
  const backup = await demo.beginBackup(volume)
  await demo.wait('backup', backup, 'error', { through: ['creating'] })

  const { fail_reason: reason } = await demo.get('backup', backup)
  assert.match(String(reason), /^CONNECTION_UNSUPPORTED: .*gpfs.*cinder-backup-agent-attach/)
  await eventually(async () => {
    assert.equal((await demo.get('volume', volume)).status, 'available')
  })
  await unit.start()
  await demo.createBackup(volume)
})
