import type { BackupRecord } from '../domain/backup-record.ts'
import type { Ending, JobOutcome } from '../domain/job.ts'
import { now } from '../lib/clock.ts'
import type { VolumeChange, VolumeRow } from '../ports/records.ts'
import {
  cancelled,
  failBackup,
  isRestoredOnto,
  type Settling,
  tellUser,
  wasRefusedByStatus,
} from './settling.ts'

/** What the target of a restore is meanwhile. */
const during: readonly string[] = ['restoring-backup', 'creating']

/** What it is when that went wrong. */
const failures: readonly string[] = ['error', 'error_restoring']

/** A restore says something of the volume, and of the backup only that it is done with. */
export async function settleRestore(settling: Settling): Promise<Ending> {
  const { job, ending, row, host, records, isAgain, signal } = settling
  const { targetVolumeId } = job.request
  const { outcome } = ending
  if (targetVolumeId === null) return ending
  const volume = await records.volume(targetVolumeId, signal)
  const isWanted = isRestoredOnto(row, targetVolumeId, host)
  // One that was let go of by an earlier start, or whose row was reset, others may have taken since.
  const isTheirs =
    isOfAnotherHost(row, host) ||
    ((isAgain || !isWanted) &&
      (await records.isRestoredFromOther(targetVolumeId, job.request.backup.record.id, signal)))
  const isOurs = (one: VolumeRow) => isInRestore(one) && !isTheirs
  if (outcome.kind === 'failed') {
    await settleFailure(settling, isTheirs ? null : volume, isWanted, outcome)
    return ending
  }
  // An earlier start has let go of the volume before it said so of the backup.
  const hasSettled = isAgain && volume !== null && !isOurs(volume) && volume.status !== 'error'
  const isDone = outcome.kind === 'done' && (isWanted || hasSettled)
  if (volume !== null && isOurs(volume)) {
    await markSource(settling, volume)
    const change = isDone ? doneChange(volume) : { status: 'error' }
    await records.changeVolume(volume.id, [volume.status ?? ''], change, signal)
  }
  if (row !== null && isWanted) {
    await records.changeBackup(row.id, ['restoring'], { status: 'available' }, signal)
  }
  return isDone || outcome.kind === 'cancelled' || row === null ? ending : cancelled(settling, row)
}

function isInRestore({ status }: VolumeRow): boolean {
  return status !== null && during.includes(status)
}

/** Asked for anew while this host was away, of another one. */
function isOfAnotherHost(row: BackupRecord | null, host: string): boolean {
  return row?.status === 'restoring' && row.host !== null && row.host !== host
}

function doneChange({ status }: VolumeRow): VolumeChange {
  return status === 'creating'
    ? { status: 'available', launched_at: now().toISOString() }
    : { status: 'available' }
}

/** Whence its data comes, where that is not said by the backup's own volume. */
async function markSource(
  { ending, records, signal }: Settling,
  { id, metadata }: VolumeRow,
): Promise<void> {
  const { id: backupId, volume_id: volumeId } = ending.record
  const named = metadata['src_backup_id']
  const isOther = id !== volumeId || (named !== undefined && named !== backupId)
  if (isOther) await records.mergeVolumeMetadata(id, { src_backup_id: backupId }, signal)
}

async function settleFailure(
  settling: Settling,
  volume: VolumeRow | null,
  isWanted: boolean,
  outcome: Extract<JobOutcome, { kind: 'failed' }>,
): Promise<void> {
  const { job, row, records, isAgain, signal } = settling
  const { code } = outcome
  const isByStatus = wasRefusedByStatus(settling)
  // An earlier start may have told of the volume, and whether it was made for this is lost with that.
  const isTold = isAgain && volume !== null && failures.includes(volume.status ?? '')
  // A volume in a status of another's is spoken of too, but only as long as the backup is ours.
  if (volume !== null && !isTold && (isInRestore(volume) || isWanted || isByStatus)) {
    const status = isByStatus ? 'error' : statusAfterFailure(volume, code)
    await records.changeVolume(volume.id, [volume.status ?? ''], { status }, signal)
  }
  if (row === null || row.deleted) return
  if (row.status === 'restoring' && !isWanted) return // Another restore is at work on it.
  if (isByStatus) {
    await failBackup(settling, row, row.status, 'error', outcome)
  } else if (await records.changeBackup(row.id, ['restoring'], { status: 'available' }, signal)) {
    await tellUser(job, row, code, settling)
  }
}

/**
 * A new volume that was never whole is an error; Cinder means that too, and compares the wrong variable.
 * Source: cinder/backup/manager.py, `restore_backup`.
 */
function statusAfterFailure({ status }: VolumeRow, code: string): string {
  return code === 'BACKUP_NOT_OURS' || (status === 'creating' && code !== 'VOLUME_INVALID_STATE')
    ? 'error'
    : 'error_restoring'
}
