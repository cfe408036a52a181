import type { BackupRecord, BackupStatus, BackupWithParents } from './backup-record.ts'
import type { ErrorCode } from './errors.ts'
import type { RequestContext } from './request-context.ts'

export type Operation = 'create' | 'restore' | 'delete' | 'import' | 'reset_status'

/** What a job method asked for. */
export type JobRequest = {
  readonly operation: Operation
  readonly backup: BackupWithParents
  /** The volume to restore onto; null for the other operations. */
  readonly targetVolumeId: string | null
  readonly volumeIsNew: boolean
  /** The volume's metadata as the scheduler sent it (JSON text), to be kept with the backup. */
  readonly volumeMeta: string | null
  /** Of an import: what the exported record says. */
  readonly imported: BackupRecord | null
  /** As the last job left the backup; null where there was none, absent in jobs of older journals. */
  readonly was?: BackupRecord | null
  /** Of a reset: what the status shall be. */
  readonly newStatus: BackupStatus | null
}

/**
 * Jobs with the same key are the same work: a second request joins the first. Restores of one backup
 * onto two volumes are two works, and so are resets to two statuses.
 */
export function jobKey(request: JobRequest): string {
  const { operation, backup, targetVolumeId, newStatus } = request
  const key = `${operation}:${backup.record.id}`
  if (operation === 'reset_status') return `${key}:${newStatus}`
  return operation === 'restore' ? `${key}:${targetVolumeId}` : key
}

/** One run of one operation, from its acceptance to its outcome. */
export type Job = {
  readonly id: string
  readonly request: JobRequest
  readonly context: RequestContext
  /** The record as it now is. */
  readonly record: BackupRecord
  /** Identifies this run in its events. */
  readonly run: string
  /** How often it was begun since its high-water mark last moved. */
  readonly starts: number
  /** Bytes of the volume done, the most that any start reached; of a delete, objects that its starts removed. */
  readonly highWaterBytes: number
  /** True once its `.start` event is written. */
  readonly started: boolean
}

/** How a job ended. `cancelled` is an end like another, not a fault. */
export type JobOutcome =
  | { readonly kind: 'done' }
  | { readonly kind: 'cancelled' }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly message: string }
