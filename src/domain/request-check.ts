import type { BackupRecord } from './backup-record.ts'
import { AgentError } from './errors.ts'
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
  checkProject(asked, context)
  if (known !== null) checkProject(known, context)
  if (operation === 'create') return
  checkService(asked, service)
  if (known === null || known.status === 'error' || known.status === 'deleted') return
  for (const field of ['container', 'service_metadata', 'volume_id'] as const) {
    if (asked[field] === null || known[field] === null || asked[field] === known[field]) continue
    throw new AgentError(
      'RECORD_MISMATCH',
      `cannot ${operation} backup ${asked.id}: the request says ${field} ${asked[field]}, this agent made it with ${known[field]}; send the record of the last event`,
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

/** Old records name a module, new ones a class of it. Source: cinder/backup/manager.py. */
function checkService({ id, service: recorded }: BackupRecord, service: string): void {
  if (recorded === null || recorded === '' || service.startsWith(recorded)) return
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
  if (known === null) return asked
  const place = {
    container: asked.container ?? known.container,
    service_metadata: asked.service_metadata ?? known.service_metadata,
  }
  if (operation === 'create') return { ...asked, ...place }
  const told = Object.entries(asked).filter(([, value]) => value !== null)
  return {
    ...known,
    ...(Object.fromEntries(told) as Partial<BackupRecord>),
    ...place,
    metadata: Object.keys(asked.metadata).length === 0 ? known.metadata : asked.metadata,
    object_count: asked.object_count === 0 ? known.object_count : asked.object_count,
    // What the last operation made of the record is not the sender's word.
    status: asked.status,
    fail_reason: asked.fail_reason,
    deleted_at: asked.deleted_at,
  }
}
