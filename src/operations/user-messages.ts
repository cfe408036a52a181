import type { BackupRecord } from '../domain/backup-record.ts'
import { AgentError, type ErrorCode } from '../domain/errors.ts'
import type { Job, Operation } from '../domain/job.ts'
import type { UserMessage } from '../ports/records.ts'

/** Source: cinder/message/message_field.py, Action. An import and a reset have none. */
const actions: Partial<Record<Operation, { readonly id: string; readonly detail: string }>> = {
  create: { id: '013', detail: '020' },
  delete: { id: '014', detail: '025' },
  restore: { id: '015', detail: '026' },
}

/** What Cinder fails of without a word to the tenant. */
const silent: readonly string[] = [
  'create VOLUME_INVALID_STATE',
  'create SNAPSHOT_INVALID_STATE',
  'restore BACKUP_NOT_OURS',
  'delete BACKUP_NOT_OURS',
]

// What says where it failed. Any other detail of an error says how, which Cinder does not tell.
const places: readonly (string | null)[] = ['017', '018', '019', '021', '022', '027']

/**
 * What the tenant of a failed job gets to read in Cinder's `messages`; null: nothing. Of a volume in
 * the wrong status the message names the volume. Source: cinder/backup/manager.py, `message_create`.
 */
export function userMessage(
  { request, context }: Job,
  { id, project_id }: BackupRecord,
  code: ErrorCode,
): UserMessage | null {
  const { operation, targetVolumeId } = request
  const action = actions[operation]
  const projectId = project_id ?? context.projectId
  if (action === undefined || projectId === null) return null
  if (silent.includes(`${operation} ${code}`)) return null
  const { detail } = new AgentError(code, '')
  const detailId = detail !== null && places.includes(detail) ? detail : action.detail
  return {
    projectId,
    requestId: context.requestId,
    resourceType: 'VOLUME_BACKUP',
    resourceId: code === 'VOLUME_INVALID_STATE' && targetVolumeId !== null ? targetVolumeId : id,
    actionId: action.id,
    detailId,
  }
}
