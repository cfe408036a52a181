import type { BackupRecord } from '../domain/backup-record.ts'
import { hasCode } from '../domain/errors.ts'
import type { Job } from '../domain/job.ts'
import { delay } from '../lib/clock.ts'
import type { Log } from '../ports/log.ts'
import type { Records } from '../ports/records.ts'
import { type AdmitDeps, admitJob, unwanted } from './admit-job.ts'
import type { Rows } from './rows.ts'
import { settleJob } from './settle-job.ts'
import { isRestoredOnto } from './settling.ts'

type Deps = Omit<AdmitDeps, 'records'> & {
  readonly records: Records
  readonly host: string
  /** How long a database that refuses is left alone between two tries. */
  readonly refusedRetryMs: number
  readonly log: Log
  /** Told of a backup whose job is over: what is temporary of it can go. */
  readonly onEnded: (record: BackupRecord) => void
}

/**
 * A job without its first look or its end leaves a row as it is until it is taken up again. A table
 * that is upgraded or a right that is given back is worth some minutes; what is refused for longer must
 * not keep the places of others.
 */
const refusedTriesMax = 10

/** The rows of Cinder's database, moved as cinder-backup moves them. */
export function databaseRows(deps: Deps): Rows {
  const { records, host } = deps
  return {
    isDatabase: true,
    record: (job, signal) =>
      persistently(deps, deps.log, signal, async () => {
        const row = await records.backup(job.request.backup.record.id, signal)
        return row === null ? null : withPlace(row, job)
      }),
    admit: (job, record, log, signal) => admitJob(job, record, deps, log, signal),
    async change(job, fields, signal) {
      const { id } = job.request.backup.record
      const during = statusWhile(job)
      if (await records.changeBackup(id, [during], fields, signal)) return
      const row = await records.backup(id, signal)
      throw unwanted(id, row?.status ?? null)
    },
    async unwanted(job, signal) {
      const { id } = job.request.backup.record
      const row = await records.backup(id, signal)
      const { targetVolumeId: target } = job.request
      const isMeant = target === null || isRestoredOnto(row, target, host)
      if (row !== null && !row.deleted && row.status === statusWhile(job) && isMeant) return null
      return unwanted(id, row?.status ?? null)
    },
    settle: (job, ending, log, signal) =>
      persistently(deps, log, signal, async (isRepeated) => {
        const row = await records.backup(job.request.backup.record.id, signal)
        const isAgain = isRepeated || job.ending !== null
        return settleJob({ job, ending, row, isAgain, host, records, log, signal })
      }),
    ended: deps.onEnded,
  }
}

async function persistently<T>(
  { refusedRetryMs }: Deps,
  log: Log,
  signal: AbortSignal,
  work: (isRepeated: boolean) => Promise<T>,
): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await work(tries > 1)
    } catch (error) {
      if (!hasCode(error, 'RECORDS_REFUSED') || tries === refusedTriesMax) throw error
      if (tries === 1) log.error('the rows of a job are refused, trying on', { error })
    }
    await delay(refusedRetryMs, signal)
  }
}

/** The status in which a backup is worked on. */
function statusWhile({ request: { operation } }: Job) {
  if (operation === 'restore') return 'restoring'
  return operation === 'delete' ? 'deleting' : 'creating'
}

/** The place that an earlier start noted in the journal and did not come to write into the row. */
function withPlace(row: BackupRecord, { request, record }: Job): BackupRecord {
  if (request.operation !== 'create') return row
  return {
    ...row,
    container: row.container ?? record.container,
    service_metadata: row.service_metadata ?? record.service_metadata,
  }
}
