import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'

import { memoryJournal } from '#src/adapters/journal/sqlite-journal.ts'
import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { AgentError } from '#src/domain/errors.ts'
import type { Job, Operation } from '#src/domain/job.ts'
import { noRows, type Rows } from '#src/operations/rows.ts'
import { watchRow } from '#src/operations/watch-row.ts'
import { aDelivery, aRequest } from '../support/builders.ts'
import { rowsOf } from '../support/state-bench.ts'
import { cinderRows } from '../support/state-rows.ts'

const signal = AbortSignal.timeout(60_000)
const never = new AbortController().signal
const gone = new AgentError('OPERATION_CANCELLED', 'nobody wants it')

function aJob(operation: Operation, record = cinderRows().record): Job {
  const target = operation === 'restore' ? { targetVolumeId: record.volume_id } : {}
  const acceptance = memoryJournal().accept(aDelivery(aRequest(operation, record, target)))
  assert.ok(acceptance.kind === 'new')
  return acceptance.job
}

/** Rows that answer as told, and count how often they are asked. */
function answering(answer: () => Promise<AgentError | null>, isDatabase = true) {
  let asked = 0
  const rows: Rows = {
    ...noRows,
    isDatabase,
    async unwanted() {
      asked += 1
      return answer()
    },
  }
  return { rows, asked: () => asked }
}

async function settledDown() {
  for (let turn = 0; turn < 5; turn++) await setImmediate()
}

for (const operation of ['create', 'restore'] as const) {
  test(`a ${operation} whose row says that nobody wants it is cancelled, but not before it has begun`, async () => {
    const { rows, asked } = answering(async () => gone)
    await using watch = watchRow(aJob(operation), rows, recordingLog(), never)
    await settledDown()
    assert.equal(asked(), 0)

    watch.begin()
    await settledDown()

    assert.equal(watch.cancel.reason, gone)
  })
}

test('where it is wanted, or where nobody can say, it goes on; what could not be asked is told', async () => {
  for (const [answer, warnings] of [
    [async () => null, 0],
    [async () => Promise.reject(new AgentError('RECORDS_REFUSED', 'no')), 1],
  ] as const) {
    const log = recordingLog()
    const { rows, asked } = answering(answer)
    await using watch = watchRow(aJob('create'), rows, log, never)
    watch.begin()
    await settledDown()

    assert.deepEqual([asked(), watch.cancel.aborted, log.lines.length], [1, false, warnings])
  }
})

test('a job without rows, and one that is short, is cancelled by its own signal alone', async () => {
  for (const [operation, isDatabase] of [
    ['create', false],
    ['delete', true],
    ['import', true],
    ['reset_status', true],
  ] as const) {
    const { rows, asked } = answering(async () => gone, isDatabase)
    const own = new AbortController()
    await using watch = watchRow(aJob(operation), rows, recordingLog(), own.signal)
    watch.begin()
    await settledDown()

    assert.deepEqual([asked(), watch.cancel.aborted], [0, false])
    own.abort(gone)
    assert.equal(watch.cancel.reason, gone)
  }
})

test('the own signal of a job that is watched cancels it too; an end in the middle of a look tells nothing', async () => {
  const own = new AbortController()
  const log = recordingLog()
  let fail: (error: Error) => void = () => undefined
  const { rows } = answering(() => new Promise((_, reject) => (fail = reject)))
  const watch = watchRow(aJob('create'), rows, log, own.signal)
  watch.begin()
  own.abort(gone)
  assert.equal(watch.cancel.reason, gone)

  const ended = watch[Symbol.asyncDispose]()
  fail(new Error('the look was cut off'))
  await ended

  assert.deepEqual(log.lines, [])
})

test('a job is wanted as long as its row has the status of its work, and is there', async () => {
  for (const [operation, during, others] of [
    ['create', 'creating', ['deleting', 'error', 'available', 'restoring', 'deleted', null]],
    ['restore', 'restoring', ['available', 'creating', 'error', 'deleting']],
    ['delete', 'deleting', ['available', 'creating', 'error']],
    ['import', 'creating', ['error', 'deleting']],
  ] as const) {
    const rows = cinderRows({ backup: { status: during } })
    const job = aJob(operation, rows.record)
    const { unwanted } = rowsOf(rows, true)
    assert.equal(await unwanted(job, signal), null)

    for (const status of others) {
      Object.assign(rows.backup(), { status })
      const reason = await unwanted(job, signal)
      assert.equal(reason?.code, 'OPERATION_CANCELLED', `${operation} ${status}`)
      assert.equal(reason.context['status'], status)
    }
    Object.assign(rows.backup(), { status: during, deleted: true })
    assert.equal((await unwanted(job, signal))?.code, 'OPERATION_CANCELLED')
    rows.tables.backups.length = 0
    assert.match((await unwanted(job, signal))?.message ?? '', /its row says nothing/)
  }
})
