import type { BackupRecord, BackupStatus } from '../domain/backup-record.ts'
import { type AgentError, hasCode } from '../domain/errors.ts'
import type { Ending } from '../domain/job.ts'
import { failedEnding } from './job-endings.ts'
import { settleRestore } from './settle-restore.ts'
import {
  cancelled,
  failBackup,
  letGo,
  type Settling,
  saysSo,
  wasRefusedByStatus,
} from './settling.ts'

// How the rows of Cinder's database end with a job: the state tables of cinder/backup/manager.py, less
// the ways in which it leaves rows stuck. The volume is let go of before its backup is said to have ended,
// for whoever waits for the backup may want the volume at once. Every write is made only where the row
// still is what the job made it, so that a repetition changes nothing.

/** Resolves to the ending as the rows have it. */
export async function settleJob(settling: Settling): Promise<Ending> {
  const ended = await settleByTable(settling)
  const { job, records, signal } = settling
  const { operation } = job.request
  const { id } = job.request.backup.record
  const row = await records.backup(id, signal)
  if (row === null) return ended
  return { ...ended, record: row, kept: operation === 'import' ? ended.kept : row }
}

function settleByTable(settling: Settling): Promise<Ending> {
  switch (settling.job.request.operation) {
    case 'create':
      return settleCreate(settling)
    case 'restore':
      return settleRestore(settling)
    case 'delete':
      return settleDelete(settling)
    case 'import':
      return settleImport(settling)
    case 'reset_status':
      return settleReset(settling)
  }
}

async function settleCreate(settling: Settling): Promise<Ending> {
  const { job, ending, row, isAgain, records, signal } = settling
  const { outcome } = ending
  const source = row ?? ending.record
  if (outcome.kind === 'cancelled' || row === null || isGone(row)) {
    await letGo(source, 'backing-up', records, signal)
    return outcome.kind === 'cancelled' || row === null ? ending : cancelled(settling, row)
  }
  if (outcome.kind === 'failed') {
    // An earlier start has let go of the volume before it said so of the backup: others may have it.
    if (isAgain && saysSo(row, 'error', outcome)) return ending
    await letGo(source, 'error_backing-up', records, signal)
    const from = wasRefusedByStatus(settling) ? row.status : 'creating'
    await failBackup(settling, row, from, 'error', outcome)
    return ending
  }
  // So has one that made it available.
  if (isAgain && row.status === 'available') return ending
  const volume = await letGo(source, 'backing-up', records, signal)
  const { object_count } = ending.record
  const change = { status: 'available', object_count, size: volume?.size ?? row.size } as const
  if (await records.finishBackup(row.id, ['creating'], change, signal)) return ending
  const now = await records.backup(job.request.backup.record.id, signal)
  return now?.status === 'available' ? ending : cancelled(settling, now ?? row)
}

async function settleDelete(settling: Settling): Promise<Ending> {
  const { ending, row, records, signal } = settling
  const { outcome } = ending
  if (row === null || row.deleted) return ending
  if (outcome.kind === 'done') {
    await records.deleteBackup(row.id, signal)
    return ending
  }
  if (outcome.kind === 'failed') {
    const from = wasRefusedByStatus(settling) ? row.status : 'deleting'
    await failBackup(settling, row, from, statusAfterDelete(outcome), outcome)
  }
  return ending
}

/**
 * What the backup itself is no worse for. Cinder's start says so of a key that it cannot delete.
 * Source: cinder/backup/manager.py, `delete_backup` and `_cleanup_one_backup`.
 */
const untouchedBy: readonly string[] = ['AGENT_NOT_READY', 'ENCRYPTION_UNSUPPORTED']

function statusAfterDelete({ code }: { readonly code: string }): BackupStatus {
  return untouchedBy.includes(code) ? 'error_deleting' : 'error'
}

async function settleImport(settling: Settling): Promise<Ending> {
  const { ending, row, records, signal } = settling
  const { outcome } = ending
  if (row === null || row.deleted || outcome.kind === 'cancelled') return ending
  if (outcome.kind === 'failed') {
    await failBackup(settling, row, 'creating', 'error', outcome)
    return ending
  }
  const { id: _id, user_id: _user, project_id: _project, ...told } = ending.record
  const { fail_reason: _reason, deleted: _deleted, deleted_at: _at, ...fields } = told
  // Whoever wrote the record may have named a volume of somebody's, and what is temporary is removed.
  const change = { ...fields, temp_volume_id: null, temp_snapshot_id: null }
  try {
    await records.changeBackup(row.id, ['creating'], change, signal)
    return ending
  } catch (error) {
    if (!hasCode(error, 'RECORDS_REFUSED')) throw error
    return refusedImport(settling, row, error)
  }
}

/**
 * A record that does not fit the columns will not fit them later either. Where the database takes nothing
 * at all it does not take this, and all is tried again.
 */
async function refusedImport(settling: Settling, row: BackupRecord, error: AgentError) {
  const ending = failedEnding({ job: settling.job, isFirst: false }, row, error)
  const { code, message } = error
  await failBackup(settling, row, 'creating', 'error', { kind: 'failed', code, message })
  return ending
}

/** Every status but that of a backup that is not there. */
const present: readonly (BackupStatus | null)[] = [
  ...[null, 'error', 'error_deleting', 'creating', 'available', 'deleting', 'restoring'],
] as const

async function settleReset({ job, ending, records, row, signal }: Settling): Promise<Ending> {
  const { newStatus } = job.request
  if (row === null || ending.outcome.kind !== 'done' || newStatus === null) return ending
  await records.changeBackup(row.id, present, { status: newStatus }, signal)
  return ending
}

function isGone({ status, deleted }: BackupRecord): boolean {
  return deleted || status === 'deleting' || status === 'deleted'
}
