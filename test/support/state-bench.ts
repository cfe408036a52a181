import assert from 'node:assert/strict'

import { memoryJournal, memoryJournals } from '#src/adapters/journal/sqlite-journal.ts'
import { recordingLog } from '#src/adapters/log/recording-log.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import { AgentError } from '#src/domain/errors.ts'
import type { JobRequest } from '#src/domain/job.ts'
import { databaseRows } from '#src/operations/database-rows.ts'
import type { RunOperation } from '#src/operations/operation.ts'
import { resetStatus } from '#src/operations/reset-status.ts'
import { aRequest } from './builders.ts'
import { runnerBench } from './runner-bench.ts'
import type { Row, StateCase } from './state-cases.ts'
import { cinderRows, swiftDriver } from './state-rows.ts'

/** Runs a case to its end. */
export async function played(
  one: StateCase,
  journal = memoryJournal(),
  wrapped = (rows: ReturnType<typeof cinderRows>) => rows.records,
) {
  const { operation, isReady = true, fails, becomes } = one
  const rows = cinderRows({
    ...{ backup: one.backup ?? {}, snapshot: one.snapshot ?? null },
    ...(one.volume === undefined ? {} : { volume: one.volume }),
  })
  let hasRun = false
  const work: RunOperation = async (run, signal) => {
    hasRun = true
    if (fails !== undefined) throw new AgentError(fails, 'as the case wants')
    const { id } = rows.record
    if (becomes !== undefined) {
      await rows.records.changeBackup(id, null, { status: becomes }, signal)
    }
    return run.job.request.operation === 'create'
      ? { record: { object_count: 7 } }
      : { record: operation === 'delete' ? { deleted: true } : {} }
  }
  const bench = runnerBench(
    {
      ...{ create: work, restore: work, delete: work, import: work },
      reset_status: async (...given) => {
        hasRun = true
        return resetStatus(...given)
      },
    },
    ...[4, journal, rowsOf({ records: wrapped(rows) }, isReady)],
  )
  bench.ask(requestOf(one, rows.record))
  await bench.idle()
  return { rows, bench, hasRun: () => hasRun }
}

export function rowsOf(
  { records }: Pick<ReturnType<typeof cinderRows>, 'records'>,
  isReady: boolean,
  host = 'host-1',
) {
  return databaseRows({
    ...{ records, host, service: swiftDriver, availabilityZone: 'nova' },
    ...{ log: recordingLog(), refusedRetryMs: 1 },
    isReady: () => isReady,
    onEnded: () => undefined,
  })
}

function requestOf({ operation, request = {} }: StateCase, record: BackupRecord): JobRequest {
  const target = operation === 'restore' ? { targetVolumeId: record.volume_id } : {}
  return aRequest(operation, record, { ...target, ...request })
}

export function assertEnds(rows: ReturnType<typeof cinderRows>, { ends }: StateCase): void {
  assertHas(rows.backup(), ends.backup)
  if (ends.volume !== undefined) assertHas(rows.volume(), ends.volume)
  if (ends.snapshot !== undefined) assertHas(rows.snapshot(), ends.snapshot)
  const { id, volume_id: volumeId } = rows.record
  // A message of a volume in the wrong status names the volume.
  const whom = (message: string) => (message === '015/027' ? volumeId : id)
  const messages = (ends.messages ?? []).map((message) => [message, whom(message)])
  assert.deepEqual(rows.messages(), messages)
}

function assertHas(row: Row, wanted: Row): void {
  const got = Object.fromEntries(Object.keys(wanted).map((name) => [name, row[name]]))
  assert.deepEqual(got, wanted)
}

/** A journal that loses the agent before any job has ended in it, and the one of the next start. */
export function dyingJournal() {
  const open = memoryJournals()
  const journal = open()
  const died = new Error('the agent was killed here')
  return {
    first: {
      ...journal,
      end() {
        throw died
      },
    },
    next: open,
  }
}
