import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import type { Columns } from '#src/ports/records.ts'
import {
  assertRecent,
  madeAt,
  newBackup,
  newVolume,
  type RecordsBench,
  recordedRows,
  signal,
} from '../support/records-bench.ts'

const metadataOf = async (bench: RecordsBench, table: string, volumeId: string) =>
  (await bench.rows(table))
    .filter((row) => row['volume_id'] === volumeId && row['deleted'] === false)
    .map((row) => [row['key'], row['value']])
    .toSorted()

export function testVolumes(adapter: string, bench: () => RecordsBench): void {
  test(`${adapter}: a volume is read with all columns and both kinds of metadata`, async () => {
    await using records = await bench().open()
    const row = newVolume()
    await bench().insert('volumes', row)
    const entry = { volume_id: row.id, deleted: false, created_at: madeAt }
    await bench().insert('volume_metadata', { ...entry, key: 'a', value: '1' })
    await bench().insert('volume_metadata', { ...entry, key: 'b', value: '2', deleted: true })
    await bench().insert('volume_glance_metadata', { ...entry, key: 'image_id', value: 'i' })

    const volume = await records.volume(row.id, signal)

    const { id, project_id, host, size, status, previous_status } = row
    assert.partialDeepStrictEqual(volume, {
      ...{ id, project_id, host, size, status, previous_status },
      cluster_name: null,
      encryption_key_id: null,
      columns: row,
    })
    assert.deepEqual([volume?.metadata, volume?.glanceMetadata], [{ a: '1' }, { image_id: 'i' }])
    assert.equal(await records.volume(randomUUID(), signal), null)
  })

  test(`${adapter}: a volume and a snapshot are changed only from a status that is expected`, async () => {
    await using records = await bench().open()
    const volume = newVolume()
    const snapshot = {
      ...{ id: randomUUID(), volume_id: volume.id, volume_type_id: volume.volume_type_id },
      ...{ status: 'backing-up', deleted: false, created_at: madeAt, use_quota: true },
    }
    await bench().insert('volumes', volume)
    await bench().insert('snapshots', snapshot)
    const change = { status: 'available', previous_status: null, launched_at: madeAt }

    assert.equal(await records.changeVolume(volume.id, ['restoring'], change, signal), false)
    assert.equal(await records.changeVolume(volume.id, ['backing-up'], change, signal), true)
    assert.equal(await records.changeVolume(volume.id, null, { bootable: true }, signal), true)
    assert.equal(await records.changeSnapshot(snapshot.id, ['error'], 'available', signal), false)
    assert.equal(await records.changeSnapshot(snapshot.id, ['backing-up'], 'error', signal), true)

    const { columns } = (await records.volume(volume.id, signal)) ?? {}
    assert.partialDeepStrictEqual(columns, { ...volume, ...change, bootable: true })
    assertRecent(columns?.['updated_at'])
    const { id, volume_id } = snapshot
    const changed = await records.snapshot(id, signal)
    assert.partialDeepStrictEqual(changed, { id, volume_id, status: 'error' })
    assert.equal(await records.snapshot(randomUUID(), signal), null)
  })

  test(`${adapter}: metadata that is merged leaves the other keys, as Cinder writes it`, async () => {
    await using records = await bench().open()
    const { id } = newVolume()
    await bench().insert('volumes', newVolume({ id }))
    const [{ inserted = {} } = {}] = recordedRows('09-restore-to-existing')

    await records.mergeVolumeMetadata(id, { a: '1', src_backup_id: 'x' }, signal)
    await records.mergeVolumeMetadata(
      id,
      { b: '2', src_backup_id: String(inserted['value']) },
      signal,
    )
    await records.mergeVolumeMetadata(randomUUID(), { a: 'of nobody' }, signal)

    const found = await metadataOf(bench(), 'volume_metadata', id)
    assert.deepEqual(found, [
      ['a', '1'],
      ['b', '2'],
      ['src_backup_id', inserted['value']],
    ])
    const rows = await bench().rows('volume_metadata')
    const ours = rows.find((row) => row['volume_id'] === id && row['key'] === 'b')
    const filled = (row: Columns) => Object.keys(row).filter((name) => row[name] !== null)
    assert.deepEqual(filled(ours ?? {}).toSorted(), filled(inserted).toSorted())
  })

  test(`${adapter}: metadata that is replaced leaves nothing of what there was`, async () => {
    await using records = await bench().open()
    const { id } = newVolume()
    await bench().insert('volumes', newVolume({ id }))

    for (const kind of ['volume', 'glance'] as const) {
      await records.replaceVolumeMetadata(id, kind, { a: '1', b: '2' }, signal)
      await records.replaceVolumeMetadata(id, kind, { b: '3', c: '4' }, signal)

      const table = kind === 'volume' ? 'volume_metadata' : 'volume_glance_metadata'
      assert.deepEqual(await metadataOf(bench(), table, id), [
        ['b', '3'],
        ['c', '4'],
      ])
    }
  })

  test(`${adapter}: what cinder-volume made for a backup, and no backup names, is a stray`, async () => {
    await using records = await bench().open()
    const { id } = newVolume()
    await bench().insert('volumes', newVolume({ id }))
    const made = { display_name: `backup-vol-${id}`, use_quota: false, status: 'creating' }
    const [stray, named] = [newVolume(made), newVolume(made)]
    const others = [
      newVolume({ ...made, use_quota: true }), // A user has called it so.
      newVolume({ ...made, display_name: `backup-vol-${randomUUID()}` }),
      newVolume({ ...made, display_name: `Backup-Vol-${id}` }),
      newVolume({ ...made, deleted: true }),
    ]
    for (const row of [stray, named, ...others]) await bench().insert('volumes', row)
    const snapshot = {
      ...{ id: randomUUID(), volume_id: id, volume_type_id: randomUUID(), use_quota: false },
      ...{ display_name: `backup-snap-${id}`, deleted: false, created_at: madeAt },
    }
    await bench().insert('snapshots', snapshot)
    const backup = newBackup({ volume_id: id, status: 'available', temp_volume_id: named.id })
    await bench().insert('backups', backup)

    const found = await records.strayTemporaries(id, signal)
    assert.deepEqual(
      found.volumes.map(({ columns }) => [columns['id'], columns['status'], columns['created_at']]),
      [[stray.id, 'creating', madeAt]],
    )
    assert.deepEqual(
      found.snapshots.map((one) => one.id),
      [snapshot.id],
    )
    assert.equal(found.isInHand, false)

    await bench().insert('backups', newBackup({ volume_id: id }))
    assert.equal((await records.strayTemporaries(id, signal)).isInHand, true)
    const none = await records.strayTemporaries(randomUUID(), signal)
    assert.deepEqual(none, { volumes: [], snapshots: [], isInHand: false })
  })

  test(`${adapter}: our attachments are those by this host, without an instance`, async () => {
    await using records = await bench().open()
    const { id } = newVolume()
    await bench().insert('volumes', newVolume({ id }))
    const ours = { id: randomUUID(), volume_id: id, attached_host: 'Storage1', deleted: false }
    await bench().insert('volume_attachment', ours)
    for (const other of [
      { attached_host: 'storage1' },
      { instance_uuid: randomUUID() },
      { deleted: true },
    ]) {
      await bench().insert('volume_attachment', { ...ours, id: randomUUID(), ...other })
    }

    const { deleted, ...expected } = ours
    assert.deepEqual(await records.attachmentsOf(id, 'Storage1', signal), [
      { ...expected, instance_uuid: null },
    ])
  })
}
