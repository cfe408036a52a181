import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'

import { type BackupServiceName, stopBackupService, takePlace } from '../support/backup-service.ts'
import { cinderRows, cinderSql } from '../support/cinder-rows.ts'
import {
  administrator,
  backupsInUse,
  change,
  eventually,
  memberOf,
  refusedWith,
  writtenVolume,
} from '../support/cinder-volumes.ts'
import { CinderUser, sumOf } from '../support/real-cinder.ts'
import { Stopwatch } from '../support/stopwatch.ts'

/** What Cinder's users can do with backups, through its real API, whichever service does the work. */
export function backupScenarios(service: BackupServiceName): void {
  const watch = new Stopwatch(`cinder-backup: ${service}; volumes of 1 GiB`)
  // What a hook leaves to `after` is done when the hook has ended, not the file.
  const last: (() => unknown)[] = []
  before(() => takePlace({ after: (end) => void last.push(end) }, service))
  after(async () => {
    watch.print()
    await stopBackupService()
    for (const end of last.toReversed()) await end()
  })
  fullAndIncremental(watch)
  sources(watch)
  ends(watch)
  records(watch)
  projects(watch)
}

function fullAndIncremental(watch: Stopwatch): void {
  test('a full backup comes back in a new volume, over another one and over its own', async (t) => {
    const demo = await memberOf(t)
    const [volume, sum] = await writtenVolume(demo)
    const backup = await watch.time('full', () => demo.createBackup(volume, { name: 'full' }))
    const told = await demo.get('backup', backup)
    assert.equal(told['is_incremental'], false)
    assert.equal(told['size'], 1)
    assert.equal(told['container'], 'volumebackups')
    assert.equal((await demo.get('volume', volume)).status, 'available')
    assert.ok(Number(told['object_count']) > 0)

    const made = await watch.time('restore, a new volume', () => demo.restore(backup))
    assert.equal(await sumOf(made), sum)
    const metadata = (await demo.get('volume', made))['metadata'] as Record<string, string>
    assert.equal(metadata['src_backup_id'], backup)

    const [other] = await writtenVolume(demo)
    await watch.time('restore, another volume', () => demo.restore(backup, other))
    assert.equal(await sumOf(other), sum)

    assert.notEqual(await change(volume), sum)
    await watch.time('restore, its own volume', () => demo.restore(backup, volume))
    assert.equal(await sumOf(volume), sum)
  })

  test('each backup of a chain comes back, and none goes before those that lean on it', async (t) => {
    const demo = await memberOf(t)
    const [volume, first] = await writtenVolume(demo)
    const full = await demo.createBackup(volume)
    const second = await change(volume)
    const incremental = { incremental: true }
    const middle = await watch.time('incremental', () => demo.createBackup(volume, incremental))
    const third = await change(volume)
    const last = await watch.time('incremental of it', () => demo.createBackup(volume, incremental))
    assert.equal((await demo.get('backup', last))['is_incremental'], true)
    assert.equal((await demo.get('backup', middle))['has_dependent_backups'], true)

    const target = await demo.createVolume()
    for (const [backup, sum] of [
      [last, third],
      [full, first],
      [middle, second],
    ] as const) {
      await watch.time('restore of a chain', () => demo.restore(backup, target))
      assert.equal(await sumOf(target), sum)
    }
    await assert.rejects(demo.delete('backup', full), refusedWith(400))
    await demo.delete('backup', last)
    assert.equal((await demo.get('backup', middle))['has_dependent_backups'], false)
    await demo.delete('backup', middle)
    await demo.delete('backup', full)
  })
}

function sources(watch: Stopwatch): void {
  test('a backup of a snapshot holds what the volume was then', async (t) => {
    const demo = await memberOf(t)
    const [volume, sum] = await writtenVolume(demo)
    const snapshot = await demo.createSnapshot(volume)
    assert.notEqual(await change(volume), sum)
    const backup = await watch.time('of a snapshot', () =>
      demo.createBackup(volume, { snapshot_id: snapshot }),
    )
    assert.equal((await demo.get('backup', backup))['snapshot_id'], snapshot)
    assert.equal((await demo.get('snapshot', snapshot)).status, 'available')
    assert.equal(await sumOf(await demo.restore(backup)), sum)
  })

  test('a volume in use is backed up by force only, and no temporary volume is left', async (t) => {
    const demo = await memberOf(t)
    const [volume, sum] = await writtenVolume(demo)
    await demo.attach(volume)
    await assert.rejects(demo.createBackup(volume), refusedWith(400))
    const backup = await watch.time('in use', () => demo.createBackup(volume, { force: true }))
    assert.equal((await demo.get('volume', volume)).status, 'in-use')
    assert.equal(await sumOf(await demo.restore(backup)), sum)
    await eventually(async () => {
      const left = await cinderRows('volumes', `display_name LIKE 'backup-vol-%' AND NOT deleted`)
      assert.deepEqual(left, [])
    })
  })
}

function ends(watch: Stopwatch): void {
  test('a deletion leaves no object, a row that says so, and the quota as it was', async (t) => {
    const demo = await memberOf(t)
    const [volume] = await writtenVolume(demo)
    const inUse = await backupsInUse(demo)
    const backup = await demo.createBackup(volume)
    assert.equal(await backupsInUse(demo), inUse + 1)
    assert.ok((await demo.objectsOf(backup)).length > 2)
    await watch.time('delete', () => demo.delete('backup', backup))
    assert.deepEqual(await demo.objectsOf(backup), [])
    assert.equal(await backupsInUse(demo), inUse)
    const [row] = await cinderRows('backups', `id = '${backup}'`)
    assert.equal(row?.['status'], 'deleted')
    assert.ok(row?.['deleted'])
    assert.ok(row?.['deleted_at'])
  })

  test('a deletion by force in the middle ends the backup, and the volume is free again', async (t) => {
    const demo = await memberOf(t)
    const admin = await administrator()
    const [volume] = await writtenVolume(demo, 256)
    const backup = await demo.beginBackup(volume)
    await eventually(async () => assert.ok((await demo.objectsOf(backup)).length > 0))
    assert.equal((await demo.get('backup', backup)).status, 'creating')
    await watch.time('delete by force', () => admin.forceDelete(backup))
    await watch.time('the volume is free', () => demo.wait('volume', volume, 'available'))
    assert.deepEqual(await demo.objectsOf(backup), [])
  })

  test('a status that is reset is what the administrator said', async (t) => {
    const demo = await memberOf(t)
    const admin = await administrator()
    const [volume, sum] = await writtenVolume(demo, 1)
    const backup = await demo.createBackup(volume)
    await assert.rejects(demo.resetStatus(backup, 'error'), refusedWith(403))
    await watch.time('reset to error', () => admin.resetStatus(backup, 'error'))
    await assert.rejects(demo.restore(backup), refusedWith(400))
    await watch.time('reset to available', () => admin.resetStatus(backup, 'available'))
    assert.equal(await sumOf(await demo.restore(backup)), sum)
  })
}

function records(watch: Stopwatch): void {
  test('a record that was exported brings a lost backup back', async (t) => {
    const demo = await memberOf(t)
    const admin = await administrator()
    const [volume, sum] = await writtenVolume(demo)
    const backup = await demo.createBackup(volume, { name: 'exported' })
    const record = await watch.time('export', () => admin.exportRecord(backup))
    await assert.rejects(demo.exportRecord(backup), refusedWith(403))
    await cinderSql(`DELETE FROM backup_metadata WHERE backup_id = '${backup}'`)
    await cinderSql(`DELETE FROM backups WHERE id = '${backup}'`)
    assert.equal(await demo.find('backup', backup), null)

    const imported = await watch.time('import', () => admin.importRecord(record))
    assert.equal(imported, backup)
    assert.equal((await demo.get('backup', backup))['volume_id'], volume)
    assert.equal(await sumOf(await demo.restore(backup)), sum)
  })

  test('a volume is made from a backup', async (t) => {
    const demo = await memberOf(t)
    const [volume, sum] = await writtenVolume(demo)
    const backup = await demo.createBackup(volume)
    const made = await watch.time('volume from a backup', () =>
      demo.createVolume({ backup_id: backup }),
    )
    assert.equal(await sumOf(made), sum)
  })
}

function projects(watch: Stopwatch): void {
  test('two projects work side by side and cannot touch what is not theirs', async (t) => {
    const demo = await memberOf(t)
    const other = await memberOf(t, 'other')
    const [[demos, demoSum], [others, otherSum]] = await Promise.all([
      writtenVolume(demo),
      writtenVolume(other),
    ])
    const [backup, otherBackup] = await watch.time('two at once, full', () =>
      Promise.all([demo.createBackup(demos), other.createBackup(others)]),
    )
    assert.equal(await other.find('backup', backup), null)
    await assert.rejects(other.restore(backup), refusedWith(404))
    await assert.rejects(other.restore(backup, others), refusedWith(404))
    await assert.rejects(other.delete('backup', backup), refusedWith(404))
    await assert.rejects(other.createBackup(demos), refusedWith(404))
    await assert.rejects(demo.restore(backup, others), refusedWith(404))
    assert.deepEqual(await other.objectsOf(backup), [])
    assert.deepEqual(await demo.objectsOf(otherBackup), [])

    const [fromDemos, fromOthers] = await watch.time('two at once, restore', () =>
      Promise.all([demo.restore(backup), other.restore(otherBackup)]),
    )
    assert.equal(await sumOf(fromDemos), demoSum)
    assert.equal(await sumOf(fromOthers), otherSum)
  })
}

/** A chain that one service began is restored, gone on with and deleted by another, or by itself after a stop. */
export function exchangeScenario(writer: BackupServiceName, reader: BackupServiceName): void {
  const watch = new Stopwatch(`written by ${writer}, read by ${reader}`)
  test(`what ${writer} wrote is restored, gone on with and deleted by ${reader}`, async (t) => {
    await takePlace(t, writer)
    t.after(stopBackupService)
    const demo = await CinderUser.login('demo')
    const [volume, first] = await writtenVolume(demo)
    const full = await watch.time('full', () => demo.createBackup(volume))
    const second = await change(volume)
    const increment = await watch.time('incremental', () =>
      demo.createBackup(volume, { incremental: true }),
    )
    await watch.time('change of service', () => takePlace(t, reader))
    for (const [backup, sum] of [
      [full, first],
      [increment, second],
    ] as const) {
      await watch.time('restore', () => demo.restore(backup, volume))
      assert.equal(await sumOf(volume), sum)
    }
    const third = await change(volume)
    const last = await watch.time('incremental of it', () =>
      demo.createBackup(volume, { incremental: true }),
    )
    assert.equal(await sumOf(await demo.restore(last)), third)
    for (const backup of [last, increment, full]) {
      await watch.time('delete', () => demo.delete('backup', backup))
      assert.deepEqual(await demo.objectsOf(backup), [])
    }
    await demo.removeAll()
    watch.print()
  })
}
