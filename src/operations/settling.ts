import type { BackupRecord, BackupStatus } from '../domain/backup-record.ts'
import { AgentError, type ErrorCode, failReason } from '../domain/errors.ts'
import type { Ending, Job, JobOutcome } from '../domain/job.ts'
import type { Log } from '../ports/log.ts'
import type { Records, VolumeRow } from '../ports/records.ts'
import { unwanted } from './admit-job.ts'
import { cancelledEnding } from './job-endings.ts'
import { userMessage } from './user-messages.ts'

/** One job, and what its rows are settled with. */
export type Settling = {
  readonly job: Job
  readonly ending: Ending
  /** The row as it is now; null: there is none. */
  readonly row: BackupRecord | null
  /** Whether an earlier start may have settled them already. */
  readonly isAgain: boolean
  readonly host: string
  readonly records: Records
  readonly log: Log
  readonly signal: AbortSignal
}

type Failed = Extract<JobOutcome, { kind: 'failed' }>

/** Whether the row tells of the failure already. */
export function saysSo(
  row: BackupRecord,
  status: BackupStatus,
  { code, message }: Failed,
): boolean {
  return row.status === status && row.fail_reason === failReason(new AgentError(code, message))
}

/** Says in the row why it failed, and to the tenant: once, however often it is settled. */
export async function failBackup(
  { job, records, log, signal }: Settling,
  row: BackupRecord,
  from: BackupStatus | null,
  to: BackupStatus,
  outcome: Failed,
): Promise<void> {
  if (saysSo(row, to, outcome)) return
  const { code, message } = outcome
  const fail_reason = failReason(new AgentError(code, message))
  if (!(await records.changeBackup(row.id, [from], { status: to, fail_reason }, signal))) return
  await tellUser(job, row, code, { records, log, signal })
}

/**
 * Whether a row still says that `host` restores it onto that volume; one that names no volume may be any's.
 * Each restore that is asked for writes the host. Source: cinder/backup/api.py, `restore`.
 */
export function isRestoredOnto(
  row: BackupRecord | null,
  targetVolumeId: string,
  host: string,
): boolean {
  if (row?.status !== 'restoring' || (row.host !== null && row.host !== host)) return false
  const { restore_volume_id: named } = row
  return named === null || named.toLowerCase() === targetVolumeId.toLowerCase()
}

/** A message that cannot be left must not spoil what it tells of. */
export async function tellUser(
  job: Job,
  row: BackupRecord,
  code: ErrorCode,
  { records, log, signal }: Pick<Settling, 'records' | 'log' | 'signal'>,
): Promise<void> {
  const message = userMessage(job, row, code)
  if (message === null) return
  try {
    await records.addMessage(message, signal)
  } catch (error) {
    if (signal.aborted) throw error
    log.warn('the message for the tenant was not left', { error })
  }
}

/** Nobody wants it any more: what it would have become is not what it ends as. */
export function cancelled({ job }: Settling, row: BackupRecord): Ending {
  const reason = unwanted(row.id, row.status)
  return cancelledEnding({ job, isFirst: false }, row, null, reason)
}

/**
 * Whether the row had a status in which nobody may ask for this; Cinder then makes an error of it. What
 * was refused because other work is in hand here is a failure like another.
 */
export function wasRefusedByStatus({ job, ending: { outcome } }: Settling): boolean {
  const { refused = null } = job.request
  return refused === null && outcome.kind === 'failed' && outcome.code === 'BACKUP_INVALID_STATE'
}

/**
 * Gives the source of a backup back what it was before, where it is still held for this backup: one that is
 * settled once more, or whose volume's status was reset, may find it held for a later one. `mark` is
 * what it is then said to have been. Resolves to the volume.
 */
export async function letGo(
  backup: BackupRecord,
  mark: 'backing-up' | 'error_backing-up' | null,
  records: Records,
  signal: AbortSignal,
): Promise<VolumeRow | null> {
  const { volume_id: volumeId, snapshot_id: snapshotId } = backup
  const volume = await records.volume(volumeId, signal)
  if (await records.isHeldByLater(backup, signal)) return volume
  if (snapshotId !== null) {
    await records.changeSnapshot(snapshotId, ['backing-up'], 'available', signal)
  } else if (volume?.status === 'backing-up') {
    const status = statusBefore(volume)
    const change = mark === null ? { status } : { status, previous_status: mark }
    await records.changeVolume(volumeId, ['backing-up'], change, signal)
  }
  return volume
}

/** What a volume was before it was backed up, or must have been where its row does not tell. */
function statusBefore({ previous_status: before, columns }: VolumeRow): string {
  const isBefore = before !== null && !before.endsWith('backing-up')
  if (isBefore) return before
  return columns['attach_status'] === 'attached' ? 'in-use' : 'available'
}
