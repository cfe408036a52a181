import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import { memoryJournal } from '#src/adapters/journal/sqlite-journal.ts'
import { AgentError } from '#src/domain/errors.ts'
import { recordTime } from '#src/lib/time-text.ts'
import type { RunOperation } from '#src/operations/operation.ts'
import { aRequest } from '../support/builders.ts'
import { runnerBench, types } from '../support/runner-bench.ts'
import { dyingJournal, rowsOf } from '../support/state-bench.ts'
import { restored } from '../support/state-cases.ts'
import { cinderRows, swiftDriver } from '../support/state-rows.ts'

// A job that was left finds rows that others have changed meanwhile, or while it ran.

const well: RunOperation = async () => ({ record: {} })
const failing: RunOperation = async () => {
  throw new AgentError('STORE_REFUSED', 'as the case wants')
}

function restoring() {
  const backup = { status: 'restoring', service: swiftDriver } as const
  return cinderRows({ backup, volume: restored })
}

/** Another backup is restored onto the volume of the first by now. */
function restoreAnother({ tables, record, backup, volume }: ReturnType<typeof cinderRows>): void {
  Object.assign(volume(), restored)
  const { volume_id: volumeId } = record
  tables.backups.push({
    ...{ ...backup(), id: randomUUID(), host: 'host-2', created_at: recordTime() },
    ...{ status: 'restoring', restore_volume_id: volumeId },
  })
}

for (const [how, work] of [
  ['fails', failing],
  ['ends well', well],
] as const) {
  test(`a restore that was reset, and ${how} when another has its volume, leaves that to it`, async () => {
    const rows = restoring()
    const restore: RunOperation = (...given) => {
      Object.assign(rows.backup(), { status: 'available' })
      restoreAnother(rows)
      return work(...given)
    }
    const bench = runnerBench({ restore }, 4, memoryJournal(), rowsOf(rows, true))
    bench.ask(aRequest('restore', rows.record, { targetVolumeId: rows.record.volume_id }))
    await bench.idle()

    assert.equal(rows.volume()['status'], 'restoring-backup')
    assert.equal(rows.backup()['status'], 'available')
    await bench.stop()
  })

  test(`a restore that ${how} and is settled again when another has its volume leaves that to it`, async () => {
    const rows = restoring()
    const journal = dyingJournal()
    const first = runnerBench({ restore: work }, 4, journal.first, rowsOf(rows, true))
    first.ask(aRequest('restore', rows.record, { targetVolumeId: rows.record.volume_id }))
    await first.idle()
    await first.stop()
    // As it is when the agent ends between the volume's row and the backup's.
    Object.assign(rows.backup(), { status: 'restoring' })
    restoreAnother(rows)

    const again = runnerBench({}, 4, journal.next(), rowsOf(rows, true))
    for (const job of again.journal.unfinished()) again.runner.takeLeft(job)
    await again.idle()

    assert.equal(rows.volume()['status'], 'restoring-backup')
    assert.equal(rows.backup()['status'], 'available')
    assert.deepEqual(again.journal.unfinished(), [])
    await again.stop()
  })
}

test('a reset that was left is done, whatever the row says', async () => {
  const rows = cinderRows({ backup: { status: 'available', service: swiftDriver } })
  const bench = runnerBench({}, 4, memoryJournal(), rowsOf(rows, true))
  const { journal, runner } = bench
  await bench.stop()
  bench.ask(aRequest('reset_status', rows.record, { newStatus: 'error' }))
  const [job] = journal.unfinished()
  assert.ok(job !== undefined)
  assert.equal(runner.count, 1)

  const after = runnerBench({}, 4, journal, rowsOf(rows, true))
  after.runner.takeLeft(journal.begin(job.id, null))
  await after.idle()

  assert.equal(rows.backup()['status'], 'error')
  assert.deepEqual(types(after.events()), ['backup.reset_status.end'])
  await after.stop()
})

test('a delete that was left goes on although its row is deleted by now', async () => {
  const backup = { status: 'deleted', deleted: true, service: swiftDriver } as const
  const rows = cinderRows({ backup })
  const journal = memoryJournal()
  let hasRun = false
  const remove: RunOperation = async () => {
    hasRun = true
    return { record: {} }
  }
  const before = runnerBench({}, 4, journal, rowsOf(rows, true))
  await before.stop()
  const { id } = before.ask(aRequest('delete', rows.record))

  const after = runnerBench({ delete: remove }, 4, journal, rowsOf(rows, true))
  after.runner.takeLeft(journal.begin(id, null))
  await after.idle()

  assert.equal(hasRun, true)
  assert.deepEqual(types(after.events()), ['backup.delete.end'])
  await after.stop()
})
