import type { BackupRecord } from './backup-record.ts'
import { AgentError, type ErrorCode } from './errors.ts'
import type { Operation } from './job.ts'
import type { RequestContext } from './request-context.ts'
import { checkStatus } from './status.ts'

export type Asked = {
  readonly operation: Operation
  /** The record as the request has it, and as the journal has it, if it does. */
  readonly asked: BackupRecord
  readonly known: BackupRecord | null
  readonly context: RequestContext
  /** Upstream's class path of our driver. */
  readonly service: string
}

/** Throws where a request does not fit the record, its asker or this agent (D3, D14, D26). */
export function checkAsked({ operation, asked, known, context, service }: Asked): void {
  checkStatus(operation, asked.id, asked.status)
  checkOwner(asked, known, context)
  if (operation === 'create' || operation === 'import') return
  if (operation === 'reset_status') checkReset(asked, service)
  else checkService(asked, service)
  checkPlace(operation, asked, known)
}

/** Throws PROJECT_MISMATCH where neither the asker's project nor an admin's word covers the backup. */
export function checkOwner(
  asked: BackupRecord,
  known: BackupRecord | null,
  context: RequestContext,
): void {
  checkProject(asked, context)
  if (known !== null) checkProject(known, context)
}

/** Throws RECORD_MISMATCH where the request says that the objects lie elsewhere than we know. */
export function checkPlace(what: string, asked: BackupRecord, known: BackupRecord | null): void {
  if (known === null || known.status === 'error' || known.status === 'deleted') return
  for (const field of ['container', 'service_metadata', 'volume_id'] as const) {
    if (asked[field] === null || known[field] === null || asked[field] === known[field]) continue
    throw new AgentError(
      'RECORD_MISMATCH',
      `cannot ${what} backup ${asked.id}: the request says ${field} ${asked[field]}, this agent made it with ${known[field]}; send the record of the last event`,
      { backupId: asked.id, field },
    )
  }
}

function checkProject(record: BackupRecord, { projectId, isAdmin }: RequestContext): void {
  if (isAdmin || projectId === null || record.project_id === null) return
  if (projectId === record.project_id) return
  throw new AgentError(
    'PROJECT_MISMATCH',
    `backup ${record.id} belongs to project ${record.project_id}, the request comes from project ${projectId}: only an admin may do that`,
    { backupId: record.id },
  )
}

/** Old records name a module, new ones a class of it. Source: cinder/backup/manager.py, `_is_our_backup`. */
export function isOurs(recorded: string | null, service: string): boolean {
  return recorded === null || recorded === '' || service.startsWith(recorded)
}

function checkService({ id, service: recorded }: BackupRecord, service: string): void {
  if (isOurs(recorded, service)) return
  throw new AgentError(
    'BACKUP_NOT_OURS',
    `backup ${id} was made by ${recorded}, this agent is configured for ${service}: send it to a host with that backup_driver`,
    { backupId: id },
  )
}

/**
 * The record of a request, completed by what the journal knows and the sender left out. A create is
 * described by its request alone: of an earlier try only the place of its objects counts.
 */
export function mergeKnown(
  operation: Operation,
  asked: BackupRecord,
  known: BackupRecord | null,
): BackupRecord {
  if (operation !== 'create') return completed(asked, known)
  return known === null ? asked : { ...asked, ...placeOf(asked, known) }
}

/** The record of a backup that is there, completed by what the journal knows of it. */
export function completed(asked: BackupRecord, known: BackupRecord | null): BackupRecord {
  if (known === null) return asked
  const told = Object.entries(asked).filter(([, value]) => value !== null)
  return {
    ...known,
    ...(Object.fromEntries(told) as Partial<BackupRecord>),
    ...placeOf(asked, known),
    metadata: Object.keys(asked.metadata).length === 0 ? known.metadata : asked.metadata,
    object_count: asked.object_count === 0 ? known.object_count : asked.object_count,
    // What the last operation made of the record is not the sender's word.
    status: asked.status,
    fail_reason: asked.fail_reason,
    deleted_at: asked.deleted_at,
  }
}

function placeOf(asked: BackupRecord, known: BackupRecord) {
  return {
    container: asked.container ?? known.container,
    service_metadata: asked.service_metadata ?? known.service_metadata,
  }
}

/** Throws where a record cannot be exported, in Cinder's words. Source: cinder/backup/manager.py. */
export function checkExport({ id, status, service: recorded }: BackupRecord, service: string) {
  if (status !== 'available') {
    throw invalidBackup(
      'BACKUP_INVALID_STATE',
      id,
      `Export backup aborted, expected backup status available but got ${status ?? 'None'}.`,
    )
  }
  if (isOurs(recorded, service)) return
  throw invalidBackup(
    'BACKUP_NOT_OURS',
    id,
    `Export record aborted, the backup service currently configured [${service}] is not the backup service that was used to create this backup [${recorded}].`,
  )
}

/** Throws BACKUP_NOT_OURS, in Cinder's words. */
export function checkReset({ id, service: recorded }: BackupRecord, service: string): void {
  if (isOurs(recorded, service)) return
  throw invalidBackup(
    'BACKUP_NOT_OURS',
    id,
    `Reset backup status aborted, the backup service currently configured [${service}] is not the backup service that was used to create this backup [${recorded}].`,
  )
}

/** An error whose text is that of Cinder's InvalidBackup. Source: cinder/exception.py. */
function invalidBackup(code: ErrorCode, backupId: string, reason: string): AgentError {
  return new AgentError(code, `Invalid backup: ${reason}`, { backupId, reason })
}
