import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'

import { backupFromPrimitive, backupToPrimitive } from '../adapters/rpc/versioned-object.ts'
import type { BackupRecord, BackupWithParents } from '../domain/backup-record.ts'
import { AgentError } from '../domain/errors.ts'
import type { Operation } from '../domain/job.ts'
import { isJsonObject, type Json, type JsonObject } from '../domain/json.ts'
import type { RequestContext } from '../domain/request-context.ts'
import { recordTime } from '../lib/time-text.ts'

/** What is sent. `recordFile` is written from each event that carries the record. */
export type SendRequest = {
  readonly method: string
  readonly args: (context: RequestContext) => JsonObject
  readonly operation: Operation | null
  readonly backupId: string | null
  /** Of a restore. */
  readonly targetVolumeId: string | null
  readonly recordFile: string | null
}

export type CreateOptions = {
  readonly volumeId: string
  readonly backupId: string | null
  readonly snapshotId: string | null
  readonly parentFile: string | null
  readonly container: string | null
  readonly size: number | null
  readonly recordFile: string
}

export function createRequest(options: CreateOptions): SendRequest {
  const backupId = options.backupId ?? randomUUID()
  const parent = options.parentFile === null ? null : readRecord(options.parentFile)
  return {
    method: 'create_backup',
    operation: 'create',
    backupId,
    targetVolumeId: null,
    recordFile: options.recordFile,
    args: (context) => ({
      backup: backupToPrimitive({ record: newRecord(backupId, options, context, parent), parent }),
    }),
  }
}

export function restoreRequest(
  recordFile: string,
  volumeId: string,
  volumeIsNew: boolean,
): SendRequest {
  const { record, parent } = readRecord(recordFile)
  const backup: BackupWithParents = { record: { ...record, status: 'restoring' }, parent }
  return {
    method: 'restore_backup',
    operation: 'restore',
    backupId: backup.record.id,
    targetVolumeId: volumeId.toLowerCase(),
    recordFile,
    args: () => ({
      backup: backupToPrimitive(backup),
      volume_id: volumeId,
      volume_is_new: volumeIsNew,
    }),
  }
}

/** The record keeps its status: one that is `creating` or `restoring` makes the delete a cancel. */
export function deleteRequest(recordFile: string): SendRequest {
  const backup = readRecord(recordFile)
  return {
    method: 'delete_backup',
    operation: 'delete',
    backupId: backup.record.id,
    targetVolumeId: null,
    recordFile,
    args: () => ({ backup: backupToPrimitive(backup) }),
  }
}

export function resetRequest(recordFile: string, status: string): SendRequest {
  const backup = readRecord(recordFile)
  return {
    method: 'reset_status',
    operation: 'reset_status',
    backupId: backup.record.id,
    targetVolumeId: null,
    recordFile,
    args: () => ({ backup: backupToPrimitive(backup), status }),
  }
}

/** Its answer is what an import needs. */
export function exportRequest(recordFile: string): SendRequest {
  const backup = backupToPrimitive(readRecord(recordFile))
  return plainRequest('export_record', JSON.stringify({ backup }))
}

/** Any method with any arguments. Throws ARGUMENT_INVALID where they are no JSON object. */
export function plainRequest(method: string, argsText: string): SendRequest {
  let args: unknown
  try {
    args = JSON.parse(argsText)
  } catch (error) {
    throw new AgentError('ARGUMENT_INVALID', `--args is not JSON: ${(error as Error).message}`)
  }
  if (!isJsonObject(args)) throw new AgentError('ARGUMENT_INVALID', '--args is not a JSON object')
  const known = args
  return {
    method,
    operation: null,
    backupId: null,
    targetVolumeId: null,
    recordFile: null,
    args: () => known,
  }
}

/** The row that Cinder's API would make for a backup that does not exist yet. */
export function newRecord(
  id: string,
  options: Pick<CreateOptions, 'volumeId' | 'snapshotId' | 'container' | 'size'>,
  { userId, projectId }: RequestContext,
  parent: BackupWithParents | null,
): BackupRecord {
  const now = recordTime()
  return {
    id,
    user_id: userId,
    project_id: projectId,
    volume_id: options.volumeId,
    host: null,
    availability_zone: null,
    container: options.container,
    parent_id: parent?.record.id ?? null,
    status: 'creating',
    fail_reason: null,
    size: options.size,
    display_name: null,
    display_description: null,
    service_metadata: null,
    service: null,
    object_count: 0,
    temp_volume_id: null,
    temp_snapshot_id: null,
    num_dependent_backups: 0,
    snapshot_id: options.snapshotId,
    data_timestamp: now,
    restore_volume_id: null,
    metadata: {},
    encryption_key_id: null,
    created_at: now,
    updated_at: null,
    deleted_at: null,
    deleted: false,
  }
}

/** Throws BACKUP_NOT_FOUND or ARGUMENT_INVALID. */
export function readRecord(file: string): BackupWithParents {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw new AgentError('BACKUP_NOT_FOUND', `cannot read the record: ${(error as Error).message}`)
  }
  let json: Json
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw new AgentError('ARGUMENT_INVALID', `${file} is not JSON: ${(error as Error).message}`)
  }
  return backupFromPrimitive(json, file)
}
