import assert from 'node:assert/strict'
import { test } from 'node:test'

import { memoryJournal } from '#src/adapters/journal/sqlite-journal.ts'
import { recordingLog } from '#src/adapters/log/recording-log.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { Job } from '#src/domain/job.ts'
import { temporaryRemover } from '#src/operations/remove-temporaries.ts'
import { serviceReport } from '#src/operations/report-service.ts'
import { rowsLeft, sweepLost, sweepRows } from '#src/operations/sweep-rows.ts'
import { aDelivery, aRequest } from '../support/builders.ts'
import { aVolume, cinderRows, swiftDriver } from '../support/state-rows.ts'

const signal = AbortSignal.timeout(60_000)
const began = { service: swiftDriver }

function sweeping(rows: ReturnType<typeof cinderRows>, journal = memoryJournal()) {
  const taken: Job[] = []
  const ended: BackupRecord[] = []
  const log = recordingLog()
  const deps = {
    ...{ records: rows.records, journal, host: 'host-1', log },
    storage: null,
    take: (job: Job) => void taken.push(job),
    onEnded: (record: BackupRecord) => void ended.push(record),
  }
  return { deps, taken, ended, log }
}

/** The look at the start. */
async function swept(rows: ReturnType<typeof cinderRows>, journal = memoryJournal()) {
  const { deps, taken, ended, log } = sweeping(rows, journal)
  await sweepRows(deps, signal)
  return { taken, ended, log }
}

/** And the one after it is known that no message waits. */
async function sweptTwice(rows: ReturnType<typeof cinderRows>, journal = memoryJournal()) {
  const { deps, taken, ended } = sweeping(rows, journal)
  await sweepRows(deps, signal)
  assert.equal(taken.length, 0)
  await sweepLost(deps, await rowsLeft(deps, signal), signal)
  return { taken, ended }
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

test('a snapshot of a backup that was cut short is available again, and its volume stays as it was', async () => {
  const rows = cinderRows({
    backup: { ...began, status: 'creating' },
    volume: { status: 'backing-up' },
    snapshot: {},
  })

  await swept(rows)

  assert.equal(rows.backup()['status'], 'error')
  assert.equal(rows.snapshot()['status'], 'available')
  assert.equal(rows.volume()['status'], 'backing-up')
})

test('what is of a job in the journal, of another host, or not begun yet is left alone', async () => {
  const inHand = cinderRows({ backup: { ...began, status: 'creating' } })
  const journal = memoryJournal()
  journal.accept(aDelivery(aRequest('create', inHand.record)))
  const others = cinderRows({ backup: { ...began, status: 'creating', host: 'host-2' } })
  const queued = cinderRows({ backup: { status: 'creating' } })

  await swept(inHand, journal)
  await swept(others)
  await swept(queued)

  for (const rows of [inHand, others, queued]) assert.equal(rows.backup()['status'], 'creating')
})

test('a request that was lost is ended as by a restart, and says what became of it', async () => {
  const create = cinderRows({ backup: { status: 'creating' } })
  const restore = cinderRows({
    backup: { ...began, status: 'restoring' },
    volume: { status: 'restoring-backup' },
  })
  Object.assign(restore.backup(), { restore_volume_id: restore.record.volume_id })
  const remove = cinderRows({ backup: { ...began, status: 'deleting' } })

  const taken: Job[] = []
  for (const rows of [create, restore, remove]) {
    const lost = sweeping(rows)
    const left = await rowsLeft(lost.deps, signal)
    assert.deepEqual(
      left.map(({ id }) => id),
      [rows.record.id],
    )
    await sweepLost(lost.deps, left, signal)
    taken.push(...lost.taken)
  }

  assert.deepEqual(
    [create, restore].map((rows) => [rows.backup()['status'], rows.volume()['status']]),
    [
      ['error', 'available'],
      ['available', 'error_restoring'],
    ],
  )
  assert.match(String(create.backup()['fail_reason']), /^the request for this backup was lost/)
  const operations = taken.map(({ request }) => [request.operation, request.backup.record.id])
  assert.deepEqual(operations, [['delete', remove.record.id]])
})

test('what was asked for after the rows were read, came to a job, or moved on is not lost', async () => {
  const later = cinderRows({ backup: { status: 'creating' } })
  const then = { ...later.record, id: 'what was there then' }
  await sweepLost(sweeping(later).deps, [then], signal)

  const taken = cinderRows({ backup: { status: 'creating' } })
  const journal = memoryJournal()
  const { deps } = sweeping(taken, journal)
  const left = await rowsLeft(deps, signal)
  journal.accept(aDelivery(aRequest('create', taken.record)))
  await sweepLost(deps, left, signal)

  const moved = cinderRows({ backup: { ...began, status: 'deleting' } })
  const before = { ...moved.record, status: 'restoring' } as const
  await sweepLost(sweeping(moved).deps, [before], signal)

  assert.deepEqual(
    [later, taken, moved].map((rows) => rows.backup()['status']),
    ['creating', 'creating', 'deleting'],
  )
  assert.equal(later.volume()['status'], 'backing-up')
})

for (const status of ['restoring', 'deleting'] as const) {
  test(`a start ends nothing that is ${status}: a message that was not acknowledged comes again`, async () => {
    const volume = { status: 'restoring-backup' }
    const rows = cinderRows({ backup: { ...began, status }, volume })
    Object.assign(rows.backup(), { restore_volume_id: rows.record.volume_id })
    const { deps, taken } = sweeping(rows)

    await sweepRows(deps, signal)
    const left = await rowsLeft(deps, signal)
    // It came, and the same was asked for once more: that message may be on its way too.
    Object.assign(rows.backup(), { updated_at: '2026-11-22T10:11:13+00:00' })
    await sweepLost(deps, left, signal)

    assert.deepEqual(taken, [])
    assert.equal(rows.backup()['status'], status)
    assert.equal(rows.volume()['status'], 'restoring-backup')
  })
}

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

  await sweptTwice(rows)

  assert.equal(rows.backup()['status'], 'available')
  assert.equal(rows.volume()['status'], 'error_restoring')
})

test('a volume that was made for a restore that was cut short does not stay creating', async () => {
  const rows = cinderRows({
    backup: { ...began, status: 'restoring' },
    volume: { status: 'creating', previous_status: null },
  })
  Object.assign(rows.backup(), { restore_volume_id: rows.record.volume_id })

  await sweptTwice(rows)

  assert.equal(rows.backup()['status'], 'available')
  assert.equal(rows.volume()['status'], 'error')
})

test('a delete goes on as a job, unless it is of a key', async () => {
  const rows = cinderRows({ backup: { ...began, status: 'deleting' } })
  const keyed = cinderRows({ backup: { ...began, status: 'deleting', encryption_key_id: 'k' } })

  const { taken } = await sweptTwice(rows)
  const none = await sweptTwice(keyed)

  assert.deepEqual(
    taken.map(({ request }) => [request.operation, request.backup.record.id]),
    [['delete', rows.record.id]],
  )
  assert.deepEqual(none.taken, [])
  assert.equal(keyed.backup()['status'], 'error_deleting')
  assert.match(String(keyed.backup()['fail_reason']), /^ENCRYPTION_UNSUPPORTED: .* the key k,/)
})

test('a delete goes on although the journal holds one of that backup done', async () => {
  const rows = cinderRows({ backup: { ...began, status: 'deleting' } })
  const journal = memoryJournal()
  const acceptance = journal.accept(aDelivery(aRequest('delete', rows.record)))
  assert.ok(acceptance.kind === 'new')
  journal.end(acceptance.job.id, { kind: 'done' }, { ...rows.record, status: 'deleted' }, [])

  const { taken } = await sweptTwice(rows, journal)

  assert.deepEqual(
    taken.map(({ request }) => request.operation),
    ['delete'],
  )
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
    ...{ records: rows.records, journal, makingMs: 60_000, log: recordingLog() },
    storage: {
      deleteVolume: async ({ id }) => void deleted.push(id),
      checkReleased: async () => undefined,
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

test('a host that starts has one row, however long the making of it takes', async (t) => {
  const { records, tables } = cinderRows()
  tables.services.length = 0
  const slow: typeof records = {
    ...records,
    async reportService(...given) {
      const { length } = tables.services
      await new Promise((resolve) => setTimeout(resolve, 20))
      assert.equal(tables.services.length, length, 'another has made it meanwhile')
      return records.reportService(...given)
    },
  }
  const report = serviceReport({
    ...{ records: slow, intervalMs: 1, isUp: () => true, log: recordingLog() },
    onDisabled: () => undefined,
    row: {
      ...{ host: 'host-1', availabilityZone: 'nova', rpcVersion: '2.4', objectVersion: '1.39' },
      disabled: false,
    },
  })
  const end = new AbortController()
  t.after(() => end.abort())
  const running = report.run(end.signal)
  await new Promise((resolve) => setTimeout(resolve, 5))
  assert.equal(tables.services.length, 0)
  await report.begin(signal)
  while (Number(tables.services[0]?.['report_count']) < 2) await new Promise(setImmediate)
  end.abort()
  await running
  assert.equal(tables.services.length, 1)
})

test('the service is up only while its work can be done, and comes back where its row is gone', async () => {
  const { records, tables } = cinderRows()
  let isUp = true
  const report = serviceReport({
    ...{ records, intervalMs: 1, isUp: () => isUp, log: recordingLog() },
    onDisabled: () => undefined,
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

test('what an operator says of the service is told when it is new, at the start and while it runs', async () => {
  const { records, tables } = cinderRows()
  const told: boolean[] = []
  const report = serviceReport({
    ...{ records, intervalMs: 1, isUp: () => true, log: recordingLog() },
    onDisabled: (isDisabled) => void told.push(isDisabled),
    row: {
      ...{ host: 'host-1', availabilityZone: 'nova', rpcVersion: '2.4', objectVersion: '1.39' },
      disabled: true,
    },
  })
  const end = new AbortController()
  await report.begin(signal)
  assert.deepEqual(told, [true])

  const running = report.run(end.signal)
  for (const disabled of [false, true]) {
    const before = told.length
    Object.assign(tables.services[0] ?? {}, { disabled })
    while (told.length === before) await new Promise((resolve) => setTimeout(resolve, 1))
  }
  end.abort()
  await running

  assert.deepEqual(told, [true, false, true])
})

test('what has ended before is told of, for something temporary of it may be left', async () => {
  for (const status of ['error', 'error_deleting', null] as const) {
    const rows = cinderRows({ backup: { ...began, status, temp_volume_id: 'left' } })
    const before = JSON.stringify(rows.tables)

    const { ended, log } = await swept(rows)

    assert.deepEqual(
      ended.map(({ id, temp_volume_id }) => [id, temp_volume_id]),
      [[rows.record.id, 'left']],
    )
    assert.equal(JSON.stringify(rows.tables), before)
    assert.deepEqual(log.lines, [])
  }
})

test('what the start ends is told of in the log, with what it was', async () => {
  const rows = cinderRows({ backup: { ...began, status: 'creating' } })

  const { log } = await swept(rows)

  const [{ level, fields } = { level: null, fields: {} }, ...others] = log.lines
  assert.deepEqual(others, [])
  assert.deepEqual(
    [level, fields],
    [
      'warn',
      {
        backup_id: rows.record.id,
        was: 'creating',
        reason: 'incomplete backup reset on manager restart',
      },
    ],
  )
})
