import type { BackupRecord, BackupStatus, BackupWithParents } from './backup-record.ts'
import type { ErrorCode } from './errors.ts'
import type { JsonObject } from './json.ts'
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
  /** Why it can only fail: rows of Cinder's database are to be told so. Absent in message mode. */
  readonly refused?: { readonly code: ErrorCode; readonly message: string } | null
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
  /** What cinder-volume said is to be backed up; null where nobody was asked, or none has answered. */
  readonly device: BackupDevice | null
  /** How it ends, once that is certain and only the telling is left. */
  readonly ending: Ending | null
}

/**
 * The volume or snapshot that stands for what is backed up, as a versioned object that is sent back as
 * it came. Source: cinder/objects/backup.py, BackupDeviceInfo.
 */
export type BackupDevice = {
  readonly kind: 'volume' | 'snapshot'
  readonly id: string
  readonly sizeGib: number
  /** Where a volume is, `storage1@lvm#pool`; null of a snapshot, which is where its volume is. */
  readonly host: string | null
  readonly clusterName: string | null
  readonly object: JsonObject
}

/** The end of a job, but for the number of its final event: plain data, for it waits in the journal. */
export type Ending = {
  readonly outcome: JobOutcome
  /** As the final event tells it. */
  readonly record: BackupRecord
  /** As the journal keeps it. */
  readonly kept: BackupRecord
  /** What the event says beside the record; `error`: it is an `.error` with this failure. */
  readonly extra: JsonObject
  readonly error: { readonly code: ErrorCode; readonly message: string } | null
}

/** How a job ended. `cancelled` is an end like another, not a fault. */
export type JobOutcome =
  | { readonly kind: 'done' }
  | { readonly kind: 'cancelled' }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly message: string }
