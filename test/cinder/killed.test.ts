// Our agent is killed once in the middle of each thing it does, and goes on with it when it is started again.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { after, before, type TestContext, test } from 'node:test'

import { type OurPlace, placeOfOurs, stopBackupService } from '../support/backup-service.ts'
import { cinderRows } from '../support/cinder-rows.ts'
import { change, eventually, inUseOf, memberOf, writtenVolume } from '../support/cinder-volumes.ts'
import {
  type BackupRequest,
  type CinderUser,
  sumOf,
  volumeFile,
  writeVolume,
} from '../support/real-cinder.ts'
import { type ScenarioName, ScenarioTimes } from '../support/scenario-times.ts'
import { noise } from '../support/volume-data.ts'

const mebibyte = 2 ** 20

/** Objects so small that a kill finds some of them written, and some not. */
const manyObjects = ['[DEFAULT]', 'backup_swift_object_size = 8388608']
const noiseMib = 96

const times = new ScenarioTimes('ours', 'from the kill, over the start, to the end of the work')
const last: (() => unknown)[] = []
let place: OurPlace

before(async () => {
  await stopBackupService()
  place = await placeOfOurs({ after: (end) => void last.push(end) }, manyObjects)
  await place.start()
})
after(async () => {
  times.print()
  await place.end('SIGTERM')
  for (const end of last.toReversed()) await end()
})

/** Kills it while a row has that status, and takes the time until it has the other one. */
async function killed(
  name: ScenarioName,
  user: CinderUser,
  backup: string,
  [status, end]: readonly [string, string],
): Promise<void> {
  await place.end('SIGKILL')
  assert.equal((await user.find('backup', backup))?.status, status, 'it was killed too late')
  await times.time(name, async () => {
    await place.start()
    await user.wait('backup', backup, end)
  })
}

/** Nothing that was made on the way is left, and the source is as it was. */
async function nothingIsLeft(user: CinderUser, volume: string, status: string): Promise<void> {
  await user.wait('volume', volume, status)
  await eventually(async () => {
    for (const table of ['volumes', 'snapshots']) {
      const named = `display_name LIKE 'backup-%' AND NOT deleted`
      assert.deepEqual(await cinderRows(table, named), [], `${table} are left`)
    }
  })
}

type Prepared = { readonly request: BackupRequest; readonly sum: string }

/** `prepare` makes of a volume what is backed up, and tells what the backup has to hold. */
async function killedCreate(
  t: TestContext,
  name: ScenarioName,
  prepare: (user: CinderUser, volume: string, sum: string) => Promise<Prepared>,
): Promise<void> {
  const demo = await memberOf(t)
  const [volume, written] = await writtenVolume(demo, noiseMib)
  const { request, sum } = await prepare(demo, volume, written)
  const { status } = await demo.get('volume', volume)
  const inUse = await inUseOf(demo)
  const backup = await demo.beginBackup(volume, request)
  await eventually(async () => assert.ok((await demo.objectsOf(backup)).length > 2), 10)
  await killed(name, demo, backup, ['creating', 'available'])
  await nothingIsLeft(demo, volume, status)
  assert.deepEqual(await inUseOf(demo), { backups: inUse.backups + 1, gib: inUse.gib + 1 })
  assert.equal(await sumOf(await demo.restore(backup)), sum)
}

test('a full backup that was killed in its middle goes on', (t) =>
  killedCreate(t, 'killed in the middle of a full backup', async (_user, _volume, sum) => ({
    request: {},
    sum,
  })))

test('an incremental backup that was killed in its middle goes on', (t) =>
  killedCreate(t, 'killed in the middle of an incremental backup', async (demo, volume) => {
    await demo.createBackup(volume)
    await writeVolume(volume, noise(randomUUID(), noiseMib * mebibyte), 300 * mebibyte)
    return { request: { incremental: true }, sum: await sumOf(volume) }
  }))

test('a backup of a snapshot that was killed in its middle goes on', (t) =>
  killedCreate(t, 'killed in the middle of a backup of a snapshot', async (demo, volume, sum) => {
    const snapshot = await demo.createSnapshot(volume)
    assert.notEqual(await change(volume), sum)
    return { request: { snapshot_id: snapshot }, sum }
  }))

test('a backup of a volume in use that was killed in its middle goes on', (t) =>
  killedCreate(
    t,
    'killed in the middle of a backup of a volume in use',
    async (demo, volume, sum) => {
      await demo.attach(volume)
      return { request: { force: true }, sum }
    },
  ))

test('a restore that was killed in its middle goes on', async (t) => {
  const demo = await memberOf(t)
  const [volume, sum] = await writtenVolume(demo, noiseMib)
  const backup = await demo.createBackup(volume)
  const target = await demo.createVolume()
  const restore = { volume_id: target }
  await demo.call('POST', `/backups/${backup}/restore`, { restore })
  const isWritten = async () => assert.ok((await stat(volumeFile(target))).blocks > 0)
  await eventually(isWritten, 5)
  await killed('killed in the middle of a restore', demo, backup, ['restoring', 'available'])
  await demo.wait('volume', target, 'available')
  assert.equal(await sumOf(target), sum)
})

test('a delete that was killed in its middle goes on', async (t) => {
  const demo = await memberOf(t)
  const [volume] = await writtenVolume(demo, noiseMib)
  const inUse = await inUseOf(demo)
  const backup = await demo.createBackup(volume)
  const all = (await demo.objectsOf(backup)).length
  await demo.call('DELETE', `/backups/${backup}`)
  await eventually(async () => assert.ok((await demo.objectsOf(backup)).length < all), 1)
  await killed('killed in the middle of a delete', demo, backup, ['deleting', 'gone'])
  assert.deepEqual(await demo.objectsOf(backup), [])
  assert.deepEqual(await inUseOf(demo), inUse)
})
