import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import type { BackupRecord, BackupStatus } from '#src/domain/backup-record.ts'
import { recordTime, recordTimeIn } from '#src/lib/time-text.ts'
import type { Columns } from '#src/ports/records.ts'
import {
  assertRecent,
  madeAt,
  newBackup,
  type RecordsBench,
  signal,
} from '../support/records-bench.ts'
import { testDeletes } from './records-deletes.ts'
import { testServices } from './records-services.ts'
import { testVolumes } from './records-volumes.ts'

/** What every Records must do. Each adapter's test file calls this with its own bench. */
export function testRecords(adapter: string, bench: () => RecordsBench): void {
  testBackups(adapter, bench)
  testDeletes(adapter, bench)
  testVolumes(adapter, bench)
  testServices(adapter, bench)
}

function testBackups(adapter: string, bench: () => RecordsBench): void {
  test(`${adapter}: a backup is read whole, with what is null in an old row as 0`, async () => {
    await using records = await bench().open()
    const row = newBackup({ object_count: null as never, num_dependent_backups: null as never })
    await bench().insert('backups', row)
    for (const [key, value, deleted] of [
      ['a', '1', false],
      ['b', 'gone', true],
    ]) {
      const entry = { key, value, deleted, backup_id: row.id, created_at: madeAt } as Columns
      await bench().insert('backup_metadata', entry)
    }

    const backup = await records.backup(row.id, signal)

    assert.deepEqual(backup, {
      ...row,
      container: null,
      parent_id: null,
      fail_reason: null,
      display_description: null,
      service_metadata: null,
      service: null,
      object_count: 0,
      temp_volume_id: null,
      temp_snapshot_id: null,
      num_dependent_backups: 0,
      snapshot_id: null,
      restore_volume_id: null,
      encryption_key_id: null,
      metadata: { a: '1' },
      updated_at: null,
      deleted_at: null,
    })
    assert.equal(await records.backup(randomUUID(), signal), null)
  })

  test(`${adapter}: a deleted backup is read too and says so, but is changed by nobody`, async () => {
    await using records = await bench().open()
    const row = newBackup({ status: 'deleted', deleted: true, deleted_at: madeAt })
    await bench().insert('backups', row)

    const backup = await records.backup(row.id, signal)

    assert.deepEqual([backup?.deleted, backup?.deleted_at], [true, madeAt])
    assert.equal(await records.changeBackup(row.id, null, { status: 'error' }, signal), false)
    assert.equal((await records.backup(row.id, signal))?.status, 'deleted')
  })

  test(`${adapter}: the backups of a host are those of exactly that name, in none of the statuses`, async () => {
    await using records = await bench().open()
    const host = `Host-${randomUUID()}`
    const rows = [
      newBackup({ host, status: 'creating' }),
      newBackup({ host, status: null }),
      newBackup({ host, status: 'available' }),
      newBackup({ host, status: 'error', deleted: true }),
      newBackup({ host: host.toLowerCase() }),
    ]
    for (const row of rows) await bench().insert('backups', row)

    const unfinished = await records.backupsOf(host, ['available', 'error'], signal)
    const all = await records.backupsOf(host, [], signal)

    const ids = (backups: readonly { id: string }[]) => backups.map(({ id }) => id).sort()
    assert.deepEqual(ids(unfinished), ids(rows.slice(0, 2)))
    assert.deepEqual(ids(all), ids(rows.slice(0, 3)))
  })

  test(`${adapter}: a backup is changed only from a status that is expected`, async () => {
    await using records = await bench().open()
    const row = newBackup()
    await bench().insert('backups', row)
    const change = (from: readonly (BackupStatus | null)[] | null, status: BackupStatus) =>
      records.changeBackup(row.id, from, { status, fail_reason: status }, signal)

    assert.equal(await change(['deleting', null], 'error'), false)
    assert.equal((await records.backup(row.id, signal))?.status, 'creating')
    assert.equal(await change(['creating', 'restoring'], 'available'), true)
    assert.equal(await change([], 'error'), false)
    assert.equal(await change(null, 'deleting'), true)
    assert.equal(await records.changeBackup(row.id, null, { status: null }, signal), true)
    assert.equal(await change(['creating'], 'error'), false)
    assert.equal(await change([null], 'error'), true)
    // Another has made it so already: who asks second is told that it was not he.
    assert.equal(await change(['creating'], 'error'), false)
    const finish = { status: 'error', fail_reason: 'error' } as const
    assert.equal(await records.finishBackup(row.id, ['creating'], finish, signal), false)

    const backup = await records.backup(row.id, signal)
    assert.deepEqual([backup?.status, backup?.fail_reason], ['error', 'error'])
    assertRecent(backup?.updated_at)
    assert.equal(await records.changeBackup(randomUUID(), null, { status: 'error' }, signal), false)
  })

  test(`${adapter}: a change that finds its row as it should be was made all the same`, async () => {
    await using records = await bench().open()
    const row = newBackup({ service: 'swift' })
    await bench().insert('backups', row)

    for (let i = 0; i < 3; i++) {
      const change = { status: 'creating', service: 'swift' } as const
      assert.equal(await records.changeBackup(row.id, ['creating'], change, signal), true)
    }
  })

  test(`${adapter}: an import writes every field, and its metadata takes the place of what there is`, async () => {
    await using records = await bench().open()
    const row = newBackup()
    await bench().insert('backups', row)
    const metadata = { key: 'old', backup_id: row.id, deleted: false, created_at: madeAt }
    await bench().insert('backup_metadata', { ...metadata, value: '1' })
    await bench().insert('backup_metadata', { ...metadata, key: 'same', value: '2' })
    const imported = {
      container: 'volumebackups',
      size: 7,
      object_count: 5,
      data_timestamp: '2026-01-02T04:04:05+01:00',
      created_at: '2026-01-02T03:04:05.678Z',
      metadata: { same: '3', new: '4' },
      deleted: false,
    }

    assert.equal(await records.changeBackup(row.id, ['creating'], imported, signal), true)

    const { updated_at, ...backup } = (await records.backup(row.id, signal)) as BackupRecord
    assert.partialDeepStrictEqual(backup, {
      ...row,
      ...imported,
      data_timestamp: '2026-01-02T03:04:05Z',
      created_at: '2026-01-02T03:04:05Z',
    })
    assert.deepEqual(backup.metadata, imported.metadata)
    assertRecent(updated_at)
    const old = (await bench().rows('backup_metadata')).find(
      (one) => one['backup_id'] === row.id && one['key'] === 'old',
    )
    assert.equal(old?.['deleted'], true)
  })

  test(`${adapter}: a source is held by a later backup of it that is being made`, async () => {
    await using records = await bench().open()
    const first = newBackup()
    const of = { volume_id: first.volume_id, created_at: '2026-11-22T10:11:13Z' }
    const isHeld = async (id: string) => {
      const backup = await records.backup(id, signal)
      return backup !== null && records.isHeldByLater(backup, signal)
    }
    const earlier = newBackup({ ...of, created_at: '2026-11-22T10:11:11Z' })
    const ofSnapshot = newBackup({ ...of, snapshot_id: randomUUID() })
    const others = [earlier, ofSnapshot, newBackup({ ...of, status: 'error' })]
    for (const one of [first, newBackup({ created_at: of.created_at }), ...others]) {
      await bench().insert('backups', one)
    }
    assert.equal(await isHeld(first.id), false)
    const { snapshot_id = null } = ofSnapshot
    await bench().insert('backups', newBackup(of))
    const again = newBackup({ ...of, snapshot_id, created_at: '2026-11-22T10:11:14Z' })
    await bench().insert('backups', again)

    assert.deepEqual([await isHeld(first.id), await isHeld(ofSnapshot.id)], [true, true])
    assert.equal(await isHeld(again.id), false)
  })

  test(`${adapter}: a volume is known for another's while another backup is restored onto it`, async () => {
    await using records = await bench().open()
    const [volumeId, other] = [randomUUID(), randomUUID()]
    const first = newBackup({ status: 'restoring', restore_volume_id: volumeId })
    const restoring = { status: 'restoring', restore_volume_id: volumeId.toUpperCase() } as const
    for (const one of [
      first,
      newBackup({ ...restoring, restore_volume_id: other }),
      newBackup({ ...restoring, status: 'available' }),
      newBackup({ ...restoring, deleted: true }),
    ]) {
      await bench().insert('backups', one)
    }
    const isOthers = (backupId: string) => records.isRestoredFromOther(volumeId, backupId, signal)
    assert.equal(await isOthers(first.id), false)
    assert.equal(await isOthers(randomUUID()), true)

    await bench().insert('backups', newBackup(restoring))
    assert.equal(await isOthers(first.id), true)
  })

  test(`${adapter}: what is in the making on no host, or on a silent one, is found`, async () => {
    await using records = await bench().open()
    const [ours, alive, silent] = [`ours-${randomUUID()}`, `Alive-${randomUUID()}`, randomUUID()]
    const service = { binary: 'cinder-backup', report_count: 0, created_at: madeAt, deleted: false }
    for (const [host, binary, updated_at] of [
      [alive, service.binary, recordTime()],
      [silent, service.binary, madeAt],
      [silent, 'cinder-volume', recordTime()],
    ] as const) {
      await bench().insert('services', { ...service, host, binary, updated_at })
    }
    const stranded = [
      newBackup({ host: silent, status: 'creating' }),
      newBackup({ host: silent, status: 'restoring' }),
      newBackup({ host: alive.toLowerCase(), status: 'deleting' }),
      newBackup({ host: null as never, status: 'creating' }),
    ]
    const others = [
      newBackup({ host: alive, status: 'creating' }),
      newBackup({ host: ours, status: 'creating' }),
      newBackup({ host: silent, status: 'available' }),
      newBackup({ host: silent, status: 'deleting', deleted: true }),
      newBackup({ host: silent, status: 'deleting', updated_at: recordTime() }),
    ]
    for (const row of [...stranded, ...others]) await bench().insert('backups', row)

    const found = await records.strandedBackups(ours, recordTimeIn(-600), signal)

    const ids = new Set([...stranded, ...others].map(({ id }) => id))
    const mine = found.filter(({ id }) => ids.has(id)).map(({ id }) => id)
    assert.deepEqual(mine.toSorted(), stranded.map(({ id }) => id).toSorted())
  })

  test(`${adapter}: a status is not lost for the characters of the text beside it`, async () => {
    await using records = await bench().open()
    const row = newBackup()
    await bench().insert('backups', row)
    const reason = "it's 'quoted' \\ \"twice\"; -- \u{1f4be} \0 ünï"

    const change = { status: 'error', fail_reason: reason } as const
    assert.equal(await records.changeBackup(row.id, null, change, signal), true)

    const backup = await records.backup(row.id, signal)
    assert.equal(backup?.status, 'error')
    assert.match(backup.fail_reason ?? '', /^it's 'quoted' \\ "twice"; -- . . ünï$/u)
  })

  test(`${adapter}: a backup that ends well is counted by its parent, once`, async () => {
    await using records = await bench().open()
    const parent = newBackup({ status: 'available', num_dependent_backups: null as never })
    const row = newBackup({ parent_id: parent.id })
    for (const one of [parent, row]) await bench().insert('backups', one)
    const finish = (size: number) =>
      records.finishBackup(row.id, ['creating'], { status: 'available', size }, signal)

    assert.equal(await finish(5), true)
    assert.equal(await finish(6), false)

    const backup = await records.backup(row.id, signal)
    assert.deepEqual([backup?.status, backup?.size], ['available', 5])
    assert.equal((await records.backup(parent.id, signal))?.num_dependent_backups, 1)
  })

  test(`${adapter}: no count of a parent is lost where twenty children change it at once`, async () => {
    await using records = await bench().open()
    await using other = await bench().open()
    const parent = newBackup({ status: 'available' })
    const children = Array.from({ length: 20 }, () => newBackup({ parent_id: parent.id }))
    for (const one of [parent, ...children]) await bench().insert('backups', one)

    const finished = await Promise.all(
      children.map(({ id }, i) =>
        (i % 2 === 0 ? records : other).finishBackup(
          id,
          ['creating'],
          { status: 'available' },
          signal,
        ),
      ),
    )
    const deleted = await Promise.all(
      children.slice(0, 7).map(({ id }) => records.deleteBackup(id, signal)),
    )

    assert.deepEqual(new Set([...finished, ...deleted]), new Set([true]))
    assert.equal((await records.backup(parent.id, signal))?.num_dependent_backups, 13)
  })
}
