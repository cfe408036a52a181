import type { BackupRecord } from '../domain/backup-record.ts'
import { AgentError } from '../domain/errors.ts'
import type { Job } from '../domain/job.ts'
import { isOurs } from '../domain/request-check.ts'
import type { Log } from '../ports/log.ts'
import type { Records, VolumeRow } from '../ports/records.ts'

// The entry checks of cinder/backup/manager.py on the rows of its database: what a message says of them
// may be old. The texts are Cinder's, for they end in `fail_reason`.

export type AdmitDeps = {
  readonly records: Pick<Records, 'volume' | 'snapshot'>
  /** Upstream's class path of our driver. */
  readonly service: string
  readonly availabilityZone: string
  /** Whether the store has answered since the start, where it can be asked at all. */
  readonly isReady: () => boolean
}

/** `record` is the row. Rejects with what does not fit, OPERATION_CANCELLED where nobody wants it. */
export async function admitJob(
  job: Job,
  record: BackupRecord,
  deps: AdmitDeps,
  log: Log,
  signal: AbortSignal,
): Promise<Partial<BackupRecord> | null> {
  switch (job.request.operation) {
    case 'create':
      return admitCreate(record, deps, signal)
    case 'restore':
      return admitRestore(job, record, deps, log, signal)
    case 'delete':
      return admitDelete(record, deps)
    case 'import':
    case 'reset_status':
      return null
  }
}

async function admitCreate(
  record: BackupRecord,
  { records, service, availabilityZone, isReady }: AdmitDeps,
  signal: AbortSignal,
): Promise<Partial<BackupRecord>> {
  const { id, volume_id: volumeId, snapshot_id: snapshotId } = record
  checkWanted(record)
  const volume = await records.volume(volumeId, signal)
  if (volume === null) throw noVolume(volumeId, id)
  if (snapshotId !== null) {
    const status = (await records.snapshot(snapshotId, signal))?.status ?? null
    if (status !== 'backing-up') {
      throw unexpected('SNAPSHOT_INVALID_STATE', 'Create', 'snapshot', 'backing-up', status, id)
    }
  } else if (volume.status !== 'backing-up') {
    const { status } = volume
    throw unexpected('VOLUME_INVALID_STATE', 'Create', 'volume', 'backing-up', status, id)
  }
  if (record.status !== 'creating') {
    throw unexpected('BACKUP_INVALID_STATE', 'Create', 'backup', 'creating', record.status, id)
  }
  if (!isReady()) throw notReady('Create', id)
  checkKeys(volume, record)
  return { service, availability_zone: record.availability_zone ?? availabilityZone }
}

async function admitRestore(
  { request: { targetVolumeId } }: Job,
  record: BackupRecord,
  { records, service }: AdmitDeps,
  log: Log,
  signal: AbortSignal,
): Promise<null> {
  const { id, status } = record
  if (targetVolumeId === null) throw new AgentError('ASSERTION_FAILED', 'a restore without target')
  checkWanted(record)
  const volume = await records.volume(targetVolumeId, signal)
  if (volume === null) throw noVolume(targetVolumeId, id)
  const wanted = ['restoring-backup', 'creating']
  if (volume.status === null || !wanted.includes(volume.status)) {
    const expected = wanted.join(' or ')
    throw unexpected('VOLUME_INVALID_STATE', 'Restore', 'volume', expected, volume.status, id)
  }
  if (status !== 'restoring') {
    throw unexpected('BACKUP_INVALID_STATE', 'Restore', 'backup', 'restoring', status, id)
  }
  checkOurs('Restore', record, service)
  checkKeys(volume, record)
  if (record.size !== null && volume.size > record.size) {
    const sizes = { volume_gib: volume.size, backup_gib: record.size }
    log.info('the volume is larger than the backup: its rest is left as it is', sizes)
  }
  return null
}

function admitDelete(record: BackupRecord, { service, isReady }: AdmitDeps): null {
  const { id, status } = record
  if (record.deleted) return null // What is deleted already is asked for once more.
  if (status !== 'deleting') {
    throw unexpected('BACKUP_INVALID_STATE', 'Delete', 'backup', 'deleting', status, id)
  }
  if (record.encryption_key_id !== null) throw keyStays(record)
  if (record.service === null || record.service === '') return null
  if (!isReady()) throw notReady('Delete', id)
  checkOurs('Delete', record, service)
  return null
}

/** A force delete makes the row `deleting` before anybody is told of it. */
function checkWanted({ id, status, deleted }: BackupRecord): void {
  if (deleted || status === 'deleting' || status === 'deleted') throw unwanted(id, status)
}

/** That a row says so is the end of the work, not a failure of it. */
export function unwanted(backupId: string, status: string | null): AgentError {
  return new AgentError(
    'OPERATION_CANCELLED',
    `backup ${backupId} is not wanted any more: its row says ${status ?? 'nothing'}`,
    { backupId, status },
  )
}

/**
 * The keys of an encrypted volume belong to its backups too, and cannot be kept yet. Such a backup is
 * never made halfway, and never restored onto a volume that has another key, or none.
 */
function checkKeys(volume: VolumeRow, { id, encryption_key_id: keyId }: BackupRecord): void {
  if (volume.encryption_key_id === null && keyId === null) return
  throw new AgentError(
    'ENCRYPTION_UNSUPPORTED',
    `volume ${volume.id} or its backup ${id} is encrypted, and keys cannot be kept yet: use cinder-backup for it`,
    { backupId: id },
  )
}

/** Without its key's removal a delete would leave the key behind for good; the objects stay with it. */
export function keyStays({ id, encryption_key_id: keyId }: BackupRecord): AgentError {
  return new AgentError(
    'ENCRYPTION_UNSUPPORTED',
    `backup ${id} has the key ${keyId}, which cannot be deleted yet: nothing was removed; delete it with cinder-backup`,
    { backupId: id },
  )
}

function checkOurs(what: string, { id, service: recorded }: BackupRecord, service: string): void {
  if (isOurs(recorded, service)) return
  throw new AgentError(
    'BACKUP_NOT_OURS',
    `${what} backup aborted, the backup service currently configured [${service}] is not the backup service that was used to create this backup [${recorded}].`,
    { backupId: id },
  )
}

function noVolume(volumeId: string, backupId: string): AgentError {
  return new AgentError(
    'VOLUME_NOT_FOUND',
    `volume ${volumeId} of backup ${backupId} is not in Cinder's database: it was deleted meanwhile`,
    { backupId, volumeId },
  )
}

function notReady(what: string, backupId: string): AgentError {
  return new AgentError(
    'AGENT_NOT_READY',
    `${what} backup aborted due to backup service is down.`,
    { backupId },
  )
}

function unexpected(
  code: 'SNAPSHOT_INVALID_STATE' | 'VOLUME_INVALID_STATE' | 'BACKUP_INVALID_STATE',
  what: string,
  whose: string,
  expected: string,
  got: string | null,
  backupId: string,
): AgentError {
  return new AgentError(
    code,
    `${what} backup aborted, expected ${whose} status ${expected} but got ${got ?? 'none'}.`,
    { backupId },
  )
}
