import { backupFromPrimitive } from './adapters/rpc/versioned-object.ts'
import type { BackupRecord, BackupStatus, BackupWithParents } from './domain/backup-record.ts'
import { AgentError } from './domain/errors.ts'
import type { JobRequest, Operation } from './domain/job.ts'
import type { JsonObject } from './domain/json.ts'
import { checkAsked, checkOwner, checkReset, mergeKnown } from './domain/request-check.ts'
import type { RequestContext } from './domain/request-context.ts'
import { isUuid } from './domain/uuid.ts'
import { volumeMetaText } from './domain/volume-meta.ts'
import type { Journal } from './ports/journal.ts'
import type { RpcRequest } from './ports/rpc.ts'
import { importBase, importedRecord } from './rpc-imports.ts'

type RequestDeps = {
  readonly journal: Pick<Journal, 'record'>
  readonly service: string
  /** Null: records travel with the requests. */
  readonly rows: unknown
}

/** The job that a request asks for. Throws where it does not fit the record, its asker or this agent. */
export function jobRequestOf(
  { args, context }: RpcRequest,
  operation: Operation,
  { journal, service, rows }: RequestDeps,
): JobRequest {
  const asked = backupFromPrimitive(args['backup'] ?? null)
  // A row is the truth, and judged when the job begins: what the message says of it may be old, and what
  // the journal says older: other hosts import and delete too.
  const known = rows === null ? journal.record(asked.record.id) : null
  if (rows === null) checkAsked({ operation, asked: asked.record, known, context, service })
  else checkAsker(operation, asked.record, context, service)
  const targetVolumeId = operation === 'restore' ? uuidArgument(args, 'volume_id') : null
  const isImport = operation === 'import'
  const merged = isImport
    ? importBase(asked.record, known)
    : mergeKnown(operation, asked.record, known)
  const backup: BackupWithParents = {
    ...asked,
    // Cinder's API notes it; so that the events of two restores can be told apart, so do we.
    record: targetVolumeId === null ? merged : { ...merged, restore_volume_id: targetVolumeId },
  }
  return {
    operation,
    backup,
    targetVolumeId,
    volumeIsNew: operation === 'restore' && booleanArgument(args, 'volume_is_new'),
    volumeMeta: operation === 'create' ? volumeMetaText(args['volume_meta'] ?? null) : null,
    was: known,
    imported: isImport ? importedRecord(args, asked.record) : null,
    newStatus: operation === 'reset_status' ? newStatusOf(args) : null,
  }
}

function uuidArgument(args: JsonObject, name: string): string {
  const value = args[name]
  if (isUuid(value)) return value.toLowerCase()
  throw new AgentError(
    'ARGUMENT_INVALID',
    `${name} must be a uuid, got ${JSON.stringify(value ?? null).slice(0, 80)}`,
  )
}

function booleanArgument(args: JsonObject, name: string): boolean {
  const value = args[name] ?? false
  if (typeof value === 'boolean') return value
  throw new AgentError(
    'ARGUMENT_INVALID',
    `${name} must be true or false, got ${JSON.stringify(value).slice(0, 80)}`,
  )
}

/** What Cinder's API lets a status be reset to. Source: cinder/api/contrib/admin_actions.py, `BackupAdminController`. */
function newStatusOf({ status }: JsonObject): BackupStatus {
  if (status === 'available' || status === 'error') return status
  throw new AgentError(
    'ARGUMENT_INVALID',
    `status must be available or error, got ${JSON.stringify(status ?? null).slice(0, 80)}`,
  )
}

/** A job that only tells the row why it is refused; null where the record cannot be read. */
export function refusedJob(
  { args }: RpcRequest,
  operation: Operation,
  { code, message }: AgentError,
): JobRequest | null {
  let backup: BackupWithParents
  try {
    backup = backupFromPrimitive(args['backup'] ?? null)
  } catch {
    return null
  }
  const { volume_id: volumeId } = args
  const target = isUuid(volumeId) ? volumeId.toLowerCase() : backup.record.restore_volume_id
  return {
    ...{ operation, backup, volumeIsNew: false, volumeMeta: null, imported: null, newStatus: null },
    ...{ was: null, targetVolumeId: operation === 'restore' ? target : null },
    refused: { code, message },
  }
}

function checkAsker(
  operation: Operation,
  asked: BackupRecord,
  context: RequestContext,
  service: string,
): void {
  checkOwner(asked, null, context)
  if (operation === 'reset_status') checkReset(asked, service)
}
