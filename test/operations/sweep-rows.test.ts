import assert from 'node:assert/strict'
import { test } from 'node:test'

import { memoryJournal } from '#src/adapters/journal/sqlite-journal.ts'
import { recordingLog } from '#src/adapters/log/recording-log.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { Job } from '#src/domain/job.ts'
import { temporaryRemover } from '#src/operations/remove-temporaries.ts'
import { serviceReport } from '#src/operations/report-service.ts'
import { sweepRows } from '#src/operations/sweep-rows.ts'
import { aDelivery, aRequest } from '../support/builders.ts'
import { aVolume, cinderRows, swiftDriver } from '../support/state-rows.ts'

const signal = AbortSignal.timeout(60_000)
const began = { service: swiftDriver }

async function swept(
  rows: ReturnType<typeof cinderRows>,
  journal = memoryJournal(),
  earlier: ReadonlySet<string> | null = null,
) {
  const taken: Job[] = []
  const ended: BackupRecord[] = []
  const deps = {
    ...{ records: rows.records, journal, host: 'host-1', log: recordingLog() },
    take: (job: Job) => void taken.push(job),
    onEnded: (record: BackupRecord) => void ended.push(record),
  }
  const left = await sweepRows(deps, earlier, signal)
  return { taken, ended, left }
}

test('a backup that an earlier service left creating is an error, and its volume is free', async () => {
  const rows = cinderRows({ backup: { ...began, status: 'creating' } })

  const { ended } = await swept(rows)

  assert.equal(rows.backup()['status'], 'error')
  assert.equal(rows.backup()['fail_reason'], 'incomplete backup reset on manager restart')
  assert.equal(rows.volume()['status'], 'available')
  assert.deepEqual(
    ended.map(({ id }) => id),
    [rows.record.id],
  )
})

test('what is of a job in the journal, of another host, or not begun yet is left alone', async () => {
  const inHand = cinderRows({ backup: { ...began, status: 'creating' } })
  const journal = memoryJournal()
  journal.accept(aDelivery(aRequest('create', inHand.record)))
  const others = cinderRows({ backup: { ...began, status: 'creating', host: 'host-2' } })
  const queued = cinderRows({ backup: { status: 'creating' } })

  await swept(inHand, journal)
  await swept(others)
  const { left } = await swept(queued)

  for (const rows of [inHand, others, queued]) assert.equal(rows.backup()['status'], 'creating')
  await swept(queued, memoryJournal(), left)
  assert.equal(queued.backup()['status'], 'error')
})

test('the late look leaves alone what was asked for after the first one', async () => {
  const rows = cinderRows({ backup: { status: 'creating' } })

  const { left } = await swept(rows, memoryJournal(), new Set(['what was there at the start']))

  assert.equal(rows.backup()['status'], 'creating')
  assert.equal(rows.volume()['status'], 'backing-up')
  assert.deepEqual([...left], [rows.record.id])
})

test('a job that ends while the rows are read is not ended once more', async () => {
  const rows = cinderRows({ backup: { ...began, status: 'creating' } })
  const journal = memoryJournal()
  const accepted = journal.accept(aDelivery(aRequest('create', rows.record)))
  assert.ok(accepted.kind === 'new')
  const records: typeof rows.records = {
    ...rows.records,
    async backupsOf(...given) {
      const found = await rows.records.backupsOf(...given)
      journal.end(accepted.job.id, { kind: 'done' }, { ...rows.record, status: 'available' }, [])
      return found
    },
  }

  await swept({ ...rows, records }, journal)

  // By then it is held for another backup.
  assert.equal(rows.volume()['status'], 'backing-up')
})

test('a restore that was cut short says so of its volume alone', async () => {
  const rows = cinderRows({
    backup: { ...began, status: 'restoring' },
    volume: { status: 'restoring-backup' },
  })
  const [row] = rows.tables.backups
  Object.assign(row ?? {}, { restore_volume_id: rows.record.volume_id })

  await swept(rows)

  assert.equal(rows.backup()['status'], 'available')
  assert.equal(rows.volume()['status'], 'error_restoring')
})

test('a volume that was made for a restore that was cut short does not stay creating', async () => {
  const rows = cinderRows({
    backup: { ...began, status: 'restoring' },
    volume: { status: 'creating', previous_status: null },
  })
  Object.assign(rows.backup(), { restore_volume_id: rows.record.volume_id })

  await swept(rows)

  assert.equal(rows.backup()['status'], 'available')
  assert.equal(rows.volume()['status'], 'error')
})

test('a delete goes on as a job, unless it is of a key', async () => {
  const rows = cinderRows({ backup: { ...began, status: 'deleting' } })
  const keyed = cinderRows({ backup: { ...began, status: 'deleting', encryption_key_id: 'k' } })

  const { taken } = await swept(rows)
  const none = await swept(keyed)

  assert.deepEqual(
    taken.map(({ request }) => [request.operation, request.backup.record.id]),
    [['delete', rows.record.id]],
  )
  assert.deepEqual(none.taken, [])
  assert.equal(keyed.backup()['status'], 'error_deleting')
})

test('what cinder-volume made for a backup is removed by its name alone, and tried until it is', async () => {
  const temporary = '0a1cc4c1-2f4a-4a6a-9d3f-7b1f5a8f0d11'
  const foreign = '1b1cc4c1-2f4a-4a6a-9d3f-7b1f5a8f0d22'
  const rows = cinderRows({ backup: { ...began, status: 'available', temp_volume_id: temporary } })
  const named = aVolume(temporary, { display_name: 'backup-vol-x', deleted: false })
  rows.tables.volumes.push(named, aVolume(foreign, { display_name: 'mine', deleted: false }))
  const journal = memoryJournal()
  const accepted = journal.accept(aDelivery(aRequest('create', rows.record)))
  assert.ok(accepted.kind === 'new')
  journal.end(accepted.job.id, { kind: 'done' }, { ...rows.record, status: 'available' }, [])
  const deleted: string[] = []
  const end = new AbortController()
  const remover = temporaryRemover({
    ...{ records: rows.records, journal, log: recordingLog() },
    storage: {
      deleteVolume: async ({ id }) => void deleted.push(id),
      deleteSnapshot: async () => undefined,
    },
  })
  const running = remover.run(end.signal) // What an earlier life of the agent left.
  while (journal.leftovers().length > 0) await new Promise(setImmediate)
  assert.deepEqual(deleted, [temporary])
  assert.equal(rows.backup()['temp_volume_id'], null)

  await rows.records.changeBackup(rows.record.id, null, { temp_volume_id: foreign }, signal)
  remover.ended({ ...rows.record, temp_volume_id: foreign, status: 'error' })
  while (rows.backup()['temp_volume_id'] !== null) await new Promise(setImmediate)
  end.abort()
  await running
  assert.deepEqual(deleted, [temporary])
})

test('the service is up only while its work can be done, and comes back where its row is gone', async () => {
  const { records, tables } = cinderRows()
  let isUp = true
  const report = serviceReport({
    ...{ records, intervalMs: 1, isUp: () => isUp, log: recordingLog() },
    row: {
      ...{ host: 'host-1', availabilityZone: 'nova', rpcVersion: '2.4', objectVersion: '1.39' },
      disabled: false,
    },
  })
  const count = () => Number(tables.services[0]?.['report_count'] ?? -1)
  const end = new AbortController()
  await report.begin(signal)
  const running = report.run(end.signal)
  while (count() < 2) await new Promise((resolve) => setTimeout(resolve, 1))
  isUp = false
  await new Promise((resolve) => setTimeout(resolve, 20))
  const still = count()
  await new Promise((resolve) => setTimeout(resolve, 20))
  assert.equal(count(), still)

  tables.services.length = 0
  isUp = true
  while (tables.services.length === 0) await new Promise((resolve) => setTimeout(resolve, 1))
  end.abort()
  await running
})
