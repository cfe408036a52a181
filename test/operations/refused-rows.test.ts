import assert from 'node:assert/strict'
import { test } from 'node:test'

import { memoryJournal } from '#src/adapters/journal/sqlite-journal.ts'
import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { AgentError } from '#src/domain/errors.ts'
import { databaseRows } from '#src/operations/database-rows.ts'
import type { RunOperation } from '#src/operations/operation.ts'
import { aRequest } from '../support/builders.ts'
import { eventually } from '../support/rabbit.ts'
import { runnerBench } from '../support/runner-bench.ts'
import { rowsOf } from '../support/state-bench.ts'
import { creating, restored, restoring } from '../support/state-cases.ts'
import { cinderRows, swiftDriver } from '../support/state-rows.ts'

const well: RunOperation = async () => ({ record: {} })

/** Rows whose database refuses one method some times. */
function refusing(
  rows: ReturnType<typeof cinderRows>,
  method: 'backup' | 'changeBackup' | 'finishBackup',
  times: number,
) {
  let left = times
  const refuse = () => {
    left -= 1
    if (left >= 0) throw new AgentError('RECORDS_REFUSED', 'a right was taken away')
  }
  const { records } = rows
  return {
    records: {
      ...records,
      backup: async (...given: Parameters<typeof records.backup>) => {
        if (method === 'backup') refuse()
        return records.backup(...given)
      },
      changeBackup: async (...given: Parameters<typeof records.changeBackup>) => {
        if (method === 'changeBackup') refuse()
        return records.changeBackup(...given)
      },
      finishBackup: async (...given: Parameters<typeof records.finishBackup>) => {
        if (method === 'finishBackup') refuse()
        return records.finishBackup(...given)
      },
    },
  }
}

for (const method of ['backup', 'finishBackup'] as const) {
  test(`K-09 a create whose row is refused for a while ends as it would have: ${method}`, async () => {
    const rows = cinderRows({ backup: creating })
    const journal = memoryJournal()
    const bench = runnerBench({ create: well }, 4, journal, rowsOf(refusing(rows, method, 3), true))
    bench.ask(aRequest('create', rows.record))
    await bench.idle()

    assert.equal(rows.backup()['status'], 'available')
    assert.equal(rows.volume()['status'], 'available')
    assert.deepEqual(journal.unfinished(), [])
    await bench.stop()
  })
}

test('K-09 a restore whose end is refused after its volume was let go of has ended well', async () => {
  const rows = cinderRows({ backup: restoring, volume: restored })
  const journal = memoryJournal()
  const bench = runnerBench(
    { restore: well },
    4,
    journal,
    rowsOf(refusing(rows, 'changeBackup', 1), true),
  )
  bench.ask(aRequest('restore', rows.record, { targetVolumeId: rows.record.volume_id }))
  await bench.idle()

  assert.equal(rows.backup()['status'], 'available')
  assert.equal(rows.volume()['status'], 'available')
  assert.deepEqual(journal.unfinished(), [])
  await bench.stop()
})

test('a failed restore whose end is refused once calls a volume that was made for it what it is', async () => {
  const rows = cinderRows({ backup: restoring, volume: { status: 'creating' } })
  const restore: RunOperation = async () => {
    throw new AgentError('STORE_UNAVAILABLE', 'no store')
  }
  const refused = rowsOf(refusing(rows, 'changeBackup', 1), true)
  const bench = runnerBench({ restore }, 4, memoryJournal(), refused)
  bench.ask(aRequest('restore', rows.record, { targetVolumeId: rows.record.volume_id }))
  await bench.idle()

  assert.equal(rows.backup()['status'], 'available')
  assert.equal(rows.volume()['status'], 'error')
  await bench.stop()
})

test('an import whose record does not fit the columns is an error that says so, and not left creating', async () => {
  const rows = cinderRows({ backup: creating })
  const display_name = 'n'.repeat(256)
  const records: typeof rows.records = {
    ...rows.records,
    async changeBackup(id, from, change, given) {
      if (change.display_name === display_name) {
        throw new AgentError('RECORDS_REFUSED', "Data too long for column 'display_name'")
      }
      return rows.records.changeBackup(id, from, change, given)
    },
  }
  const journal = memoryJournal()
  const bench = runnerBench(
    { import: async () => ({ record: { display_name, status: 'available' } }) },
    ...[4, journal, rowsOf({ records }, true)],
  )
  bench.ask(aRequest('import', rows.record))
  await bench.idle()

  assert.equal(rows.backup()['status'], 'error')
  assert.match(String(rows.backup()['fail_reason']), /too long for column 'display_name'/)
  assert.deepEqual(journal.unfinished(), [])
  const [, end] = bench.events()
  assert.equal(end?.eventType, 'backup.import.error')
  await bench.stop()
})

test('what is refused for long gives its place to others, and is left', async () => {
  const rows = cinderRows({ backup: creating })
  const journal = memoryJournal()
  const bench = runnerBench(
    { create: well },
    4,
    journal,
    rowsOf(refusing(rows, 'finishBackup', 1000), true),
  )
  bench.ask(aRequest('create', rows.record))
  await bench.idle()

  assert.equal(journal.unfinished().length, 1)
  assert.equal(journal.unfinished()[0]?.ending?.outcome.kind, 'done')
  await bench.stop()
})

test('what was left is taken up again later, and ends as it would have', async () => {
  const rows = cinderRows({ backup: creating })
  const journal = memoryJournal()
  const tries = 10
  const refused = rowsOf(refusing(rows, 'finishBackup', tries), true)
  const bench = runnerBench({ create: well }, 4, journal, refused, 0, 20)
  bench.ask(aRequest('create', rows.record))
  await bench.idle()
  assert.equal(rows.backup()['status'], 'creating')

  await eventually(() => journal.unfinished().length === 0, 'the job is taken up again')

  assert.deepEqual([rows.backup()['status'], rows.volume()['status']], ['available', 'available'])
  await bench.stop()
})

test('a database that refuses is left alone for a while between two tries', async () => {
  const rows = cinderRows({ backup: creating })
  const journal = memoryJournal()
  const log = recordingLog()
  const bench = runnerBench(
    ...([{ create: well }, 4, journal] as const),
    databaseRows({
      ...{ ...refusing(rows, 'finishBackup', 3), service: swiftDriver, availabilityZone: 'nova' },
      ...{ log, host: 'host-1', refusedRetryMs: 30, isReady: () => true, onEnded: () => undefined },
    }),
  )
  const beganMs = performance.now()
  bench.ask(aRequest('create', rows.record))
  await bench.idle()

  assert.ok(performance.now() - beganMs >= 85)
  assert.equal(rows.backup()['status'], 'available')
  await bench.stop()
})
