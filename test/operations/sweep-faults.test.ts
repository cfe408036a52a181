import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'

import { memoryJournal } from '#src/adapters/journal/sqlite-journal.ts'
import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { AgentError } from '#src/domain/errors.ts'
import { temporaryRemover } from '#src/operations/remove-temporaries.ts'
import { rowsLeft, sweepLost, sweepRows } from '#src/operations/sweep-rows.ts'
import type { BlockStorage } from '#src/ports/block-storage.ts'
import { aDelivery, aRecord, aRequest } from '../support/builders.ts'
import { meddling } from '../support/meddling.ts'
import { cinderRows, swiftDriver } from '../support/state-rows.ts'

// A start that meets rows which it cannot change, what is gone, and what does not let go.

const signal = AbortSignal.timeout(60_000)
const began = { service: swiftDriver }

async function swept(
  { records }: Pick<ReturnType<typeof cinderRows>, 'records'>,
  storage: Pick<BlockStorage, 'detachVolume'> | null = null,
  journal = memoryJournal(),
) {
  const log = recordingLog()
  const nobody = { take: () => undefined, onEnded: () => undefined }
  const deps = { records, storage, log, host: 'host-1', journal, ...nobody }
  await sweepRows(deps, signal)
  await sweepLost(deps, await rowsLeft(deps, signal), signal)
  return log.lines.filter(({ level }) => level === 'error')
}

test('a row that the database refuses to change keeps no other from its end', async () => {
  const rows = cinderRows({ backup: { ...began, status: 'creating' } })
  const next = cinderRows({
    backup: { ...began, status: 'creating', created_at: '2026-11-22T11:00:00+00:00' },
  })
  rows.tables.backups.push(...next.tables.backups)
  rows.tables.volumes.push(...next.tables.volumes)
  const records: typeof rows.records = {
    ...rows.records,
    async changeVolume(id, ...given) {
      if (id === rows.record.volume_id) throw new AgentError('RECORDS_REFUSED', 'no')
      return rows.records.changeVolume(id, ...given)
    },
  }

  const errors = await swept({ records })

  assert.equal(rows.backup()['status'], 'creating')
  // Each look tells of it.
  const told = new Set(errors.map(({ fields }) => fields['backup_id']))
  assert.deepEqual([...told], [rows.record.id])
  const other = await rows.records.backup(next.record.id, signal)
  assert.equal(other?.status, 'error')
  assert.equal(rows.volume(next.record.volume_id)['status'], 'available')
})

test('a backup whose volume or snapshot is gone is ended all the same', async () => {
  const rows = [
    cinderRows({ backup: { ...began, status: 'creating' }, volume: null }),
    cinderRows({ backup: { ...began, status: 'restoring' }, volume: null }),
    cinderRows({ backup: { ...began, status: 'creating' }, snapshot: {} }),
  ]
  for (const one of rows) {
    one.tables.snapshots.length = 0
    Object.assign(one.backup(), { restore_volume_id: one.record.volume_id })
    assert.deepEqual(await swept(one), [])
  }

  assert.deepEqual(
    rows.map((one) => one.backup()['status']),
    ['error', 'available', 'error'],
  )
})

/** A volume with attachments: two of this host's, one of an instance, one of another host's. */
function attachedRows(backup: object, volume: object) {
  const rows = cinderRows({
    backup: { ...began, ...backup },
    volume: { ...volume },
  })
  const { volume_id } = rows.record
  Object.assign(rows.backup(), { restore_volume_id: volume_id })
  for (const [id, attached_host, instance_uuid] of [
    ['first', 'host-1', null],
    ['an instance', 'host-1', 'i'],
    ['elsewhere', 'host-2', null],
    ['second', 'host-1', null],
  ] as const) {
    const row = { id, volume_id, attached_host, instance_uuid, deleted: false }
    rows.tables.volume_attachment.push(row)
  }
  return rows
}

for (const [during, volume, ended, left] of [
  ['creating', { status: 'backing-up', previous_status: 'in-use' }, 'error', 'in-use'],
  ['restoring', { status: 'restoring-backup' }, 'available', 'error_restoring'],
  ['restoring', { status: 'creating' }, 'available', 'error'],
] as const) {
  test(`what is attached here for a backup that is ${during} is taken back, one that stays keeps no other (${volume.status})`, async () => {
    const rows = attachedRows({ status: during }, volume)
    const asked: string[] = []
    const errors = await swept(rows, {
      async detachVolume({ id }, attachmentId) {
        assert.equal(id, rows.record.volume_id)
        asked.push(attachmentId)
        throw new AgentError('CALL_FAILED', 'it is busy')
      },
    })

    assert.deepEqual(asked, ['first', 'second'])
    assert.equal(errors.length, 2)
    assert.equal(rows.backup()['status'], ended)
    assert.equal(rows.volume()['status'], left)
  })
}

test('a target that cinder-volume calls available when it takes it back is half written all the same', async () => {
  const rows = attachedRows({ status: 'restoring' }, { status: 'restoring-backup' })

  await swept(rows, {
    async detachVolume({ id }) {
      await rows.records.changeVolume(id, null, { status: 'available' }, signal)
    },
  })

  assert.equal(rows.volume()['status'], 'error_restoring')
  assert.equal(rows.backup()['status'], 'available')
})

test('of a volume that is in use for something else nothing is taken back', async () => {
  for (const status of ['creating', 'restoring'] as const) {
    const rows = attachedRows({ status }, { status: 'in-use' })
    let asked = 0

    await swept(rows, {
      async detachVolume() {
        asked += 1
      },
    })

    assert.equal(asked, 0)
    assert.equal(rows.volume()['status'], 'in-use')
  }
})

for (const [during, volume, other, left] of [
  ['creating', { status: 'backing-up' }, 'create', 'backing-up'],
  ['restoring', { status: 'restoring-backup' }, 'restore', 'restoring-backup'],
] as const) {
  test(`a volume that another ${other} of ours has by now is not taken from it for one that is ${during}`, async () => {
    const snapshot_id = during === 'creating' ? 'a snapshot' : null
    const rows = attachedRows({ status: during, snapshot_id }, volume)
    const { volume_id } = rows.record
    const targetVolumeId = other === 'restore' ? volume_id : null
    const journal = memoryJournal()
    journal.accept(aDelivery(aRequest(other, aRecord({ volume_id }), { targetVolumeId })))

    const asked: string[] = []
    await swept(rows, { detachVolume: async (_volume, id) => void asked.push(id) }, journal)

    assert.deepEqual(asked, [])
    assert.equal(rows.volume()['status'], left)
    assert.equal(rows.backup()['status'], during === 'creating' ? 'error' : 'available')
  })
}

for (const [what, named, row] of [
  ['volume', { temp_volume_id: 'gone' }, null],
  ['snapshot', { temp_snapshot_id: 'gone' }, null],
  [
    'volume of a snapshot',
    { temp_snapshot_id: 'there' },
    { id: 'there', volume_id: 'gone', display_name: 'backup-snap-x', status: 'available' },
  ],
] as const) {
  test(`a temporary ${what} that is gone is tolerated, and its backup names it no more`, async () => {
    const rows = cinderRows({ backup: { ...began, status: 'error', ...named } })
    if (row !== null) rows.tables.snapshots.push({ ...row, deleted: false })
    const log = recordingLog()
    const cleared: string[] = []
    const remover = temporaryRemover({
      ...{ records: rows.records, makingMs: 60_000, log },
      journal: { leftovers: () => [], cleared: (id) => void cleared.push(id) },
      storage: {
        deleteVolume: () => assert.fail('nothing is there'),
        checkReleased: async () => undefined,
        deleteSnapshot: () => assert.fail('nothing is there'),
      },
    })
    const end = new AbortController()
    const running = remover.run(end.signal)
    remover.ended({ ...rows.record, status: 'error' })
    while (cleared.length === 0) await setImmediate()
    end.abort()
    await running

    const { temp_volume_id, temp_snapshot_id } = rows.backup()
    assert.deepEqual([temp_volume_id, temp_snapshot_id], [null, null])
    assert.deepEqual(log.lines, [])
  })
}

test('whoever changes a row right before the start writes it wins', async () => {
  let met = 0
  for (const [backup, volume, snapshot] of [
    [{ status: 'creating' }, {}, null],
    [{ status: 'creating' }, { status: 'in-use' }, {}],
    [{ status: 'restoring' }, { status: 'restoring-backup' }, null],
    [{ status: 'restoring' }, { status: 'creating' }, null],
    [{ status: 'deleting', encryption_key_id: 'k' }, {}, null],
  ] as const) {
    for (let at = 0; ; at++) {
      const rows = cinderRows({ backup: { ...began, ...backup }, volume, snapshot })
      Object.assign(rows.backup(), { restore_volume_id: rows.record.volume_id })
      const writes = { count: 0 }
      assert.deepEqual(await swept({ records: meddling(rows, at, writes) }), [])
      if (writes.count <= at) break
      met += 1
    }
  }
  assert.ok(met >= 9, `${met}`)
})

test('a target that another takes right when it is taken back is left to it', async () => {
  for (const at of [0, 1, 2]) {
    const rows = attachedRows({ status: 'restoring' }, { status: 'restoring-backup' })
    const writes = { count: 0 }
    const records = meddling(rows, at, writes)
    await swept(
      { records },
      {
        async detachVolume({ id }) {
          await rows.records.changeVolume(id, null, { status: 'available' }, signal)
        },
      },
    )

    assert.ok(writes.count > at)
    assert.equal(rows.volume()['status'], 'meddled')
  }
})

test('where volumes are found by their paths nothing is taken back', async () => {
  const rows = attachedRows({ status: 'creating' }, { status: 'backing-up' })

  assert.deepEqual(await swept(rows), [])

  assert.equal(rows.backup()['status'], 'error')
})

test('a start that is told to stop while something is taken back says so', async () => {
  const rows = attachedRows({ status: 'creating' }, { status: 'backing-up' })
  const end = new AbortController()
  const log = recordingLog()
  const storage = {
    async detachVolume() {
      end.abort(new Error('enough'))
      throw new Error('cut off')
    },
  }
  const nobody = { take: () => undefined, onEnded: () => undefined }
  const deps = { records: rows.records, storage, log, host: 'host-1', journal: memoryJournal() }

  await assert.rejects(sweepRows({ ...deps, ...nobody }, end.signal), /^Error: enough$/)

  assert.deepEqual(log.lines, [])
  assert.equal(rows.backup()['status'], 'creating')
})

test('a start that is told to stop in the middle of the rows says so, and calls none of them left', async () => {
  const rows = cinderRows({ backup: { ...began, status: 'creating' } })
  const end = new AbortController()
  const log = recordingLog()
  const records: typeof rows.records = {
    ...rows.records,
    async changeBackup() {
      end.abort(new Error('enough'))
      throw new Error('cut off')
    },
  }
  const nobody = { take: () => undefined, onEnded: () => undefined }
  const deps = { records, storage: null, log, host: 'host-1', journal: memoryJournal(), ...nobody }

  await assert.rejects(sweepRows(deps, end.signal), /^Error: enough$/)

  assert.deepEqual(log.lines, [])
})

test('the import of a deleted backup, whose row has its old driver, is left for its message', async () => {
  const volume_id = '00000000-0000-0000-0000-000000000000'
  const rows = cinderRows({ backup: { ...began, status: 'creating', volume_id }, volume: null })
  const nobody = { take: () => undefined, onEnded: () => undefined }
  const deps = { ...{ records: rows.records, storage: null, log: recordingLog() }, ...nobody }

  await sweepRows({ ...deps, host: 'host-1', journal: memoryJournal() }, signal)

  assert.equal(rows.backup()['status'], 'creating')
  await swept(rows) // As it is once its message is known to be lost.
  assert.equal(rows.backup()['status'], 'error')
})

test('what comes to a job while another is ended, which may take long, is not ended', async () => {
  const rows = attachedRows({ status: 'creating', service: null }, { status: 'backing-up' })
  const created_at = '2026-11-22T11:00:00+00:00'
  const next = cinderRows({ backup: { status: 'creating', created_at } })
  rows.tables.backups.push(...next.tables.backups)
  rows.tables.volumes.push(...next.tables.volumes)
  const journal = memoryJournal()
  const detachVolume = async () => {
    journal.accept(aDelivery(aRequest('create', next.record)))
  }

  await swept(rows, { detachVolume }, journal)

  assert.equal(rows.backup()['status'], 'error')
  assert.equal((await rows.records.backup(next.record.id, signal))?.status, 'creating')
  assert.equal(rows.volume(next.record.volume_id)['status'], 'backing-up')
})
