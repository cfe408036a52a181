import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import { memoryJournal } from '#src/adapters/journal/sqlite-journal.ts'
import { AgentError } from '#src/domain/errors.ts'
import type { RunOperation } from '#src/operations/operation.ts'
import { aDelivery, aRequest } from '../support/builders.ts'
import { runnerBench, types } from '../support/runner-bench.ts'
import { dyingJournal, rowsOf } from '../support/state-bench.ts'
import { creating } from '../support/state-cases.ts'
import { cinderRows, swiftDriver } from '../support/state-rows.ts'

const fails: RunOperation = async () => {
  throw new AgentError('STORE_UNAVAILABLE', 'no store')
}

test('a backup that is settled once more leaves its volume to the next one', async () => {
  const rows = cinderRows({ backup: creating })
  const journals = dyingJournal()
  const first = runnerBench({ create: fails }, 4, journals.first, rowsOf(rows, true))
  first.ask(aRequest('create', rows.record))
  await first.idle()
  await first.stop()
  assert.deepEqual([rows.backup()['status'], rows.volume()['status']], ['error', 'available'])

  // The agent was killed before its journal knew, and the user did not wait for it.
  const volume = { status: 'backing-up', previous_status: 'available' }
  Object.assign(rows.volume(), volume)
  const next = { ...rows.backup(), id: randomUUID(), created_at: '2026-11-22T10:11:13Z' }
  rows.tables.backups.push({ ...next, status: 'creating', fail_reason: null })
  const second = runnerBench({ create: fails }, 4, journals.next(), rowsOf(rows, true))
  for (const job of second.journal.unfinished()) second.runner.takeLeft(job)
  await second.idle()
  await second.stop()

  assert.deepEqual(second.journal.unfinished(), [])
  assert.partialDeepStrictEqual(rows.volume(), volume)
  assert.equal(rows.backup()['status'], 'error')
})

for (const [status, isRemoved] of [
  ['deleting', true],
  ['deleted', true],
  ['error', false],
] as const) {
  test(`what a create made is ${isRemoved ? '' : 'not '}removed where its row is ${status} by the time it ends`, async () => {
    const rows = cinderRows({ backup: { ...creating, service_metadata: 'volume_x_backup_y' } })
    const removed: (string | null)[] = []
    const bench = runnerBench(
      {
        // Another host was told to delete it, and is done before the last objects are written.
        async create(_run, signal) {
          await rows.records.changeBackup(rows.record.id, ['creating'], { status }, signal)
          return { record: { object_count: 1 } }
        },
        async delete(run) {
          removed.push(run.record().service_metadata)
          return { record: {} }
        },
      },
      ...[4, memoryJournal(), rowsOf(rows, true)],
    )
    bench.ask(aRequest('create', rows.record))
    await bench.idle()
    await bench.stop()

    assert.deepEqual(removed, isRemoved ? ['volume_x_backup_y'] : [])
    assert.equal(rows.backup()['status'], status)
    assert.deepEqual(types(bench.events()), ['backup.create.start', 'backup.create.end'])
  })
}

for (const ends of ['well', 'badly'] as const) {
  test(`a restore that ends ${ends} after its backup was asked for onto another volume leaves that restore alone`, async () => {
    const rows = cinderRows({
      backup: { status: 'restoring', service: swiftDriver },
      volume: { status: 'restoring-backup', previous_status: 'available' },
    })
    const restore: RunOperation = async (run, signal) => {
      // The status was reset by way of another host, which was asked for a restore at once.
      Object.assign(rows.backup(), { restore_volume_id: randomUUID() })
      return ends === 'well' ? { record: {} } : fails(run, signal)
    }
    const bench = runnerBench({ restore }, 4, memoryJournal(), rowsOf(rows, true))
    bench.ask(aRequest('restore', rows.record, { targetVolumeId: rows.record.volume_id }))
    await bench.idle()
    await bench.stop()

    assert.equal(rows.backup()['status'], 'restoring')
    assert.equal(rows.volume()['status'], ends === 'well' ? 'error' : 'error_restoring')
  })
}

test('a running restore sees that its backup was asked for onto another volume', async () => {
  const rows = cinderRows({ backup: { status: 'restoring', service: swiftDriver } })
  const databaseRows = rowsOf(rows, true)
  const target = { targetVolumeId: rows.record.volume_id.toUpperCase() }
  const acceptance = memoryJournal().accept(aDelivery(aRequest('restore', rows.record, target)))
  assert.ok(acceptance.kind === 'new')
  const unwanted = () => databaseRows.unwanted(acceptance.job, AbortSignal.timeout(10_000))

  Object.assign(rows.backup(), { restore_volume_id: rows.record.volume_id })
  assert.equal(await unwanted(), null)
  Object.assign(rows.backup(), { restore_volume_id: randomUUID() })
  assert.equal((await unwanted())?.code, 'OPERATION_CANCELLED')
})
