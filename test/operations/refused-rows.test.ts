import assert from 'node:assert/strict'
import { test } from 'node:test'

import { memoryJournal } from '#src/adapters/journal/sqlite-journal.ts'
import { AgentError } from '#src/domain/errors.ts'
import type { RunOperation } from '#src/operations/operation.ts'
import { aRequest } from '../support/builders.ts'
import { runnerBench } from '../support/runner-bench.ts'
import { rowsOf } from '../support/state-bench.ts'
import { creating, restored, restoring } from '../support/state-cases.ts'
import { cinderRows } from '../support/state-rows.ts'

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

test('what is refused for good gives its place to others, and is left for the next start', async () => {
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
