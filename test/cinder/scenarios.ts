import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'

import { type BackupServiceName, stopBackupService, takePlace } from '../support/backup-service.ts'
import { cinderRows, cinderSql } from '../support/cinder-rows.ts'
import {
  administrator,
  change,
  eventually,
  inUseOf,
  memberOf,
  refusedWith,
  writtenVolume,
} from '../support/cinder-volumes.ts'
import { type CinderUser, sumOf } from '../support/real-cinder.ts'
import { changesBetween } from '../support/row-changes.ts'
import { ScenarioTimes } from '../support/scenario-times.ts'
import { cinderSnapshot } from '../support/stock-rows.ts'

/** What Cinder's users can do with backups, through its real API, whichever service does the work. */
export function backupScenarios(service: BackupServiceName): void {
  const times = new ScenarioTimes(service, `cinder-backup: ${service}`)
  // What a hook leaves to `after` is done when the hook has ended, not the file.
  const last: (() => unknown)[] = []
  before(() => takePlace({ after: (end) => void last.push(end) }, service))
  after(async () => {
    times.print()
    await stopBackupService()
    for (const end of last.toReversed()) await end()
  })
  fullAndIncremental(times)
  sources(times)
  ends(times, service === 'stock' ? 5 : 1)
  records(times)
  projects(times)
}

function fullAndIncremental(times: ScenarioTimes): void {
  test('a full backup comes back in a new volume, over another one and over its own', async (t) => {
    const demo = await memberOf(t)
    const [volume, sum] = await writtenVolume(demo, 64)
    const inUse = await inUseOf(demo)
    const backup = await times.time('full backup', () =>
      demo.createBackup(volume, { name: 'full' }),
    )
    const told = await demo.get('backup', backup)
    assert.equal(told['is_incremental'], false)
    assert.equal(told['size'], 1)
    assert.equal(told['container'], 'volumebackups')
    assert.equal((await demo.get('volume', volume)).status, 'available')
    assert.ok(Number(told['object_count']) > 0)
    assert.deepEqual(await inUseOf(demo), { backups: inUse.backups + 1, gib: inUse.gib + 1 })
    const [row] = await cinderRows('backups', `id = '${backup}'`)
    for (const column of ['parent_id', 'fail_reason', 'temp_volume_id', 'temp_snapshot_id']) {
      assert.equal(row?.[column], null, column)
    }
    assert.equal(row?.['service'], 'cinder.backup.drivers.swift.SwiftBackupDriver')
    assert.equal(row?.['project_id'], demo.token.projectId)
    const objects = await demo.objectsOf(backup)
    assert.ok(objects.every((name) => name.startsWith(String(row?.['service_metadata']))))
    for (const end of ['_metadata', '_sha256file']) {
      assert.equal(objects.filter((name) => name.endsWith(end)).length, 1, end)
    }

    const made = await times.time('restore to a volume that Cinder makes for it', () =>
      demo.restore(backup),
    )
    assert.equal(await sumOf(made), sum)
    const metadata = (await demo.get('volume', made))['metadata'] as Record<string, string>
    assert.equal(metadata['src_backup_id'], backup)

    const empty = await demo.createVolume()
    await times.time('restore to a new volume', () => demo.restore(backup, empty))
    assert.equal(await sumOf(empty), sum)

    const [other] = await writtenVolume(demo)
    await times.time('restore to an existing volume', () => demo.restore(backup, other))
    assert.equal(await sumOf(other), sum)

    assert.notEqual(await change(volume), sum)
    await times.time('restore to its own volume', () => demo.restore(backup, volume))
    assert.equal(await sumOf(volume), sum)
  })

  test('each backup of a chain comes back, and none goes before those that lean on it', async (t) => {
    const demo = await memberOf(t)
    const [volume, first] = await writtenVolume(demo)
    const full = await demo.createBackup(volume)
    const second = await change(volume)
    const incremental = { incremental: true }
    const middle = await times.time('incremental backup', () =>
      demo.createBackup(volume, incremental),
    )
    const third = await change(volume)
    const last = await times.time('incremental backup of an incremental one', () =>
      demo.createBackup(volume, incremental),
    )
    assert.equal((await demo.get('backup', last))['is_incremental'], true)
    assert.equal((await demo.get('backup', middle))['has_dependent_backups'], true)

    const target = await demo.createVolume()
    for (const [backup, sum] of [
      [last, third],
      [full, first],
      [middle, second],
    ] as const) {
      await times.time('restore of a chain', () => demo.restore(backup, target))
      assert.equal(await sumOf(target), sum)
    }
    await assert.rejects(demo.delete('backup', full), refusedWith(400))
    await demo.delete('backup', last)
    assert.equal((await demo.get('backup', middle))['has_dependent_backups'], false)
    await demo.delete('backup', middle)
    await demo.delete('backup', full)
  })
}

function sources(times: ScenarioTimes): void {
  test('a backup of a snapshot holds what the volume was then', async (t) => {
    const demo = await memberOf(t)
    const [volume, sum] = await writtenVolume(demo)
    const snapshot = await demo.createSnapshot(volume)
    assert.notEqual(await change(volume), sum)
    const backup = await times.time('backup of a snapshot', () =>
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
    const backup = await times.time('backup of a volume in use, by force', () =>
      demo.createBackup(volume, { force: true }),
    )
    assert.equal((await demo.get('volume', volume)).status, 'in-use')
    assert.equal(await sumOf(await demo.restore(backup)), sum)
    await eventually(async () => {
      const left = await cinderRows('volumes', `display_name LIKE 'backup-vol-%' AND NOT deleted`)
      assert.deepEqual(left, [])
    })
  })
}

/**
 * With Cinder's own service a create whose backup is deleted by force may have the last word: the delete fails
 * at objects that the other removes, and the row is `available` again. It gets `tries`, ours one.
 */
function ends(times: ScenarioTimes, tries: number): void {
  test('a deletion leaves no object, a row that says so, and the quota as it was', async (t) => {
    const demo = await memberOf(t)
    const [volume] = await writtenVolume(demo)
    const inUse = await inUseOf(demo)
    const backup = await demo.createBackup(volume)
    assert.deepEqual(await inUseOf(demo), { backups: inUse.backups + 1, gib: inUse.gib + 1 })
    assert.ok((await demo.objectsOf(backup)).length > 2)
    await times.time('delete', () => demo.delete('backup', backup))
    assert.deepEqual(await demo.objectsOf(backup), [])
    assert.deepEqual(await inUseOf(demo), inUse)
    const [row] = await cinderRows('backups', `id = '${backup}'`)
    assert.equal(row?.['status'], 'deleted')
    assert.ok(row?.['deleted'])
    assert.ok(row?.['deleted_at'])
  })

  test('a deletion by force in the middle ends the backup, and the volume is free again', async (t) => {
    const demo = await memberOf(t)
    const admin = await administrator()
    const [volume] = await writtenVolume(demo, 256)
    const inUse = await inUseOf(demo)
    const forced = async (left: number): Promise<string> => {
      const id = await demo.beginBackup(volume)
      await eventually(async () => assert.ok((await demo.objectsOf(id)).length > 0))
      assert.equal((await demo.get('backup', id)).status, 'creating')
      try {
        await times.time('delete by force in the middle of a create', () => admin.forceDelete(id))
        return id
      } catch (error) {
        // Stock's create may have the last word, or delete an object first that its delete misses then.
        if (left <= 1 || !/is (?:available|error), not gone/.test(String(error))) throw error
        t.diagnostic(`once more: ${error}`)
        await demo.wait('volume', volume, 'available')
        await demo.delete('backup', id)
        return forced(left - 1)
      }
    }
    const backup = await forced(tries)
    await demo.wait('volume', volume, 'available')
    assert.deepEqual(await demo.objectsOf(backup), [])
    assert.deepEqual(await inUseOf(demo), inUse)
  })

  test('a status that is reset is what the administrator said', async (t) => {
    const demo = await memberOf(t)
    const admin = await administrator()
    const [volume, sum] = await writtenVolume(demo, 1)
    const backup = await demo.createBackup(volume)
    await assert.rejects(demo.resetStatus(backup, 'error'), refusedWith(403))
    await times.time('reset of the status to error', () => admin.resetStatus(backup, 'error'))
    await assert.rejects(demo.restore(backup), refusedWith(400))
    await times.time('reset of the status to available', () =>
      admin.resetStatus(backup, 'available'),
    )
    assert.equal(await sumOf(await demo.restore(backup)), sum)
  })
}

function records(times: ScenarioTimes): void {
  test('a record that was exported brings a lost backup back', async (t) => {
    const demo = await memberOf(t)
    const admin = await administrator()
    const [volume, sum] = await writtenVolume(demo)
    const backup = await demo.createBackup(volume, { name: 'exported' })
    const record = await times.time('export of a record', () => admin.exportRecord(backup))
    await assert.rejects(demo.exportRecord(backup), refusedWith(403))
    await cinderSql(`DELETE FROM backup_metadata WHERE backup_id = '${backup}'`)
    await cinderSql(`DELETE FROM backups WHERE id = '${backup}'`)
    assert.equal(await demo.find('backup', backup), null)

    const imported = await times.time('import of a record', () => admin.importRecord(record))
    assert.equal(imported, backup)
    assert.equal((await demo.get('backup', backup))['volume_id'], volume)
    assert.equal(await sumOf(await demo.restore(backup)), sum)
  })

  test('a volume is made from a backup', async (t) => {
    const demo = await memberOf(t)
    const [volume, sum] = await writtenVolume(demo)
    const backup = await demo.createBackup(volume)
    const made = await times.time('volume from a backup', () =>
      demo.createVolume({ backup_id: backup }),
    )
    assert.equal(await sumOf(made), sum)
    assert.notEqual(await change(made), sum)
    await times.time('restore to a volume made from a backup', () => demo.restore(backup, made))
    assert.equal(await sumOf(made), sum)
  })
}

function projects(times: ScenarioTimes): void {
  test('two projects work side by side and cannot touch what is not theirs', async (t) => {
    const demo = await memberOf(t)
    const other = await memberOf(t, 'other')
    const [[demos, demoSum], [others, otherSum]] = await Promise.all([
      writtenVolume(demo),
      writtenVolume(other),
    ])
    const [backup, otherBackup] = await times.time(
      'two projects, a full backup of each at once',
      () => Promise.all([demo.createBackup(demos), other.createBackup(others)]),
    )
    const before = await cinderSnapshot()
    const objects = await Promise.all([demo.objectsOf(backup), other.objectsOf(otherBackup)])
    await times.time('two projects, all that is not theirs refused', () =>
      refusals(other, backup, demos, others),
    )
    await assert.rejects(demo.restore(backup, others), refusedWith(404))
    assert.deepEqual(await other.objectsOf(backup), [])
    assert.deepEqual(await demo.objectsOf(otherBackup), [])

    const left = changesBetween(before, await cinderSnapshot())
    // Heartbeats go on.
    assert.deepEqual(
      left.filter(({ table }) => table !== 'services'),
      [],
      'what is refused changes nothing',
    )
    const after = await Promise.all([demo.objectsOf(backup), other.objectsOf(otherBackup)])
    assert.deepEqual(after, objects)
    assert.deepEqual([await sumOf(demos), await sumOf(others)], [demoSum, otherSum])

    const [fromDemos, fromOthers] = await times.time(
      'two projects, a restore of each at once',
      () => Promise.all([demo.restore(backup), other.restore(otherBackup)]),
    )
    assert.equal(await sumOf(fromDemos), demoSum)
    assert.equal(await sumOf(fromOthers), otherSum)
  })
}

/** All that a stranger may try with another project's backup and volume. */
async function refusals(stranger: CinderUser, backup: string, volume: string, own: string) {
  assert.equal(await stranger.find('backup', backup), null)
  const tries: readonly (() => Promise<unknown>)[] = [
    () => stranger.restore(backup),
    () => stranger.restore(backup, own),
    () => stranger.restore(backup, volume),
    () => stranger.delete('backup', backup),
    () => stranger.createBackup(volume),
    () => stranger.createBackup(volume, { incremental: true }),
    () => stranger.createVolume({ backup_id: backup }),
    () => stranger.call('PUT', `/backups/${backup}`, { backup: { name: 'mine' } }),
  ]
  for (const attempt of tries) await assert.rejects(attempt, refusedWith(404))
  const ofAdministrators: readonly (() => Promise<unknown>)[] = [
    () => stranger.resetStatus(backup, 'error'),
    () => stranger.forceDelete(backup),
    () => stranger.exportRecord(backup),
  ]
  for (const attempt of ofAdministrators) await assert.rejects(attempt, refusedWith(403, 404))
}
