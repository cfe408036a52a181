import type { BackupRecord, BackupStatus } from '../domain/backup-record.ts'
import type { Json } from '../domain/json.ts'

/** Columns by their names in Cinder's schema; times are ISO 8601 text in UTC, booleans true or false. */
export type Columns = Readonly<Record<string, Json>>

/** A row of `volumes`: what the agent decides by, and all columns, for cinder-volume wants the whole. */
export type VolumeRow = {
  readonly id: string
  readonly project_id: string | null
  readonly host: string | null // `storage1@lvm#pool`.
  readonly cluster_name: string | null
  readonly size: number // GiB.
  readonly status: string | null
  readonly previous_status: string | null
  readonly encryption_key_id: string | null
  readonly columns: Columns
  readonly metadata: Readonly<Record<string, string>>
  readonly glanceMetadata: Readonly<Record<string, string>>
}

export type SnapshotRow = {
  readonly id: string
  readonly volume_id: string
  readonly status: string | null
  readonly columns: Columns
}

/** What cinder-volume made, or makes, to back a volume up, and no backup's row names. */
export type StrayTemporaries = {
  readonly volumes: readonly VolumeRow[]
  readonly snapshots: readonly SnapshotRow[]
  /** Whether a backup of the volume is in the making: then they may be of it. */
  readonly isInHand: boolean
}

export type AttachmentRow = {
  readonly id: string
  readonly volume_id: string
  readonly attached_host: string | null
  readonly instance_uuid: string | null
}

/** What the agent writes of a volume (spec of cinder-backup, 13.2). */
export type VolumeChange = {
  readonly status?: string
  readonly previous_status?: string | null
  readonly launched_at?: string
  readonly display_name?: string | null
  readonly display_description?: string | null
  readonly bootable?: boolean
}

/** A row of `messages`, what a tenant sees of a failure. Source: cinder/message/api.py. */
export type UserMessage = {
  readonly projectId: string
  readonly requestId: string | null
  readonly resourceType: 'VOLUME_BACKUP'
  readonly resourceId: string
  readonly actionId: string // `013`
  readonly detailId: string // `020`
}

/** What an operator says of a service in its row. */
export type ServiceState = { readonly disabled: boolean }

/** Our row of `services`. */
export type ServiceRow = {
  readonly host: string
  readonly availabilityZone: string
  readonly rpcVersion: string
  readonly objectVersion: string
  /** Of a row that is made: whether operators shall have to enable it first. */
  readonly disabled: boolean
}

/**
 * Cinder's database, as cinder-backup uses it. Reads see rows that are not deleted, unless it is said
 * otherwise. Every method is one transaction, tried again on a deadlock, and waits for a database that is
 * away until `signal` aborts. A change is made only where the row still has one of the statuses in
 * `from` (null: any), and tells whether it was: who came first wins. Rejects with RECORDS_REFUSED where
 * the database says no for good. `test/contracts/records.ts` is the executable form.
 */
export interface Records extends AsyncDisposable {
  /** Also a deleted one, `deleted` says so. */
  backup(id: string, signal: AbortSignal): Promise<BackupRecord | null>
  /** Those of a host that are in none of `statuses` (a null status is in none). */
  backupsOf(
    host: string,
    statuses: readonly BackupStatus[],
    signal: AbortSignal,
  ): Promise<readonly BackupRecord[]>
  /**
   * Whether another backup of the same source, the volume or the snapshot of it, that was asked for later, is
   * being made: the status of the source is its by then.
   */
  isHeldByLater(backup: BackupRecord, signal: AbortSignal): Promise<boolean>
  /** Whether another backup than `backupId` is being restored onto the volume: then its status is that one's. */
  isRestoredFromOther(volumeId: string, backupId: string, signal: AbortSignal): Promise<boolean>
  /**
   * Those that are creating, restoring or deleting, that nobody has changed since that time (ISO 8601), and
   * that are on no host, or on another than `host` of whose cinder-backup nothing was heard since then.
   */
  strandedBackups(
    host: string,
    since: string,
    signal: AbortSignal,
  ): Promise<readonly BackupRecord[]>
  /** Metadata, where it is given, takes the place of what there is. */
  changeBackup(
    id: string,
    from: readonly (BackupStatus | null)[] | null,
    change: Partial<BackupRecord>,
    signal: AbortSignal,
  ): Promise<boolean>
  /**
   * Deletes the row and its metadata softly and, in the same transaction, gives the quota back (`backups`
   * 1, `backup_gigabytes` its size, never below 0) and takes it off its parent's counter, never below the
   * number of its other children that ended well. False where it was deleted already; then nothing is
   * changed. Where the database refuses the quota alone, the rest is done, and the log says so.
   */
  deleteBackup(id: string, signal: AbortSignal): Promise<boolean>
  /**
   * Ends a create well, in one transaction: the change and, where it was made, one more dependent of the
   * parent. False where the status was not in `from`.
   */
  finishBackup(
    id: string,
    from: readonly (BackupStatus | null)[],
    change: Partial<BackupRecord>,
    signal: AbortSignal,
  ): Promise<boolean>

  volume(id: string, signal: AbortSignal): Promise<VolumeRow | null>
  changeVolume(
    id: string,
    from: readonly string[] | null,
    change: VolumeChange,
    signal: AbortSignal,
  ): Promise<boolean>
  /** Sets the keys that are given and keeps the others. */
  mergeVolumeMetadata(
    id: string,
    metadata: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<void>
  /** Takes the place of all user metadata of the volume, or of all of its image metadata. */
  replaceVolumeMetadata(
    id: string,
    kind: 'volume' | 'glance',
    metadata: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<void>

  snapshot(id: string, signal: AbortSignal): Promise<SnapshotRow | null>
  changeSnapshot(
    id: string,
    from: readonly string[] | null,
    status: string,
    signal: AbortSignal,
  ): Promise<boolean>

  /**
   * Known by Cinder's names for them, and by being of no quota: a user can give a volume any name.
   * Source: cinder/volume/driver.py, `_create_temp_volume` and `_create_temp_snapshot`.
   */
  strayTemporaries(volumeId: string, signal: AbortSignal): Promise<StrayTemporaries>

  /** The attachments of a volume by this host that no instance has. */
  attachmentsOf(
    volumeId: string,
    host: string,
    signal: AbortSignal,
  ): Promise<readonly AttachmentRow[]>

  addMessage(message: UserMessage, signal: AbortSignal): Promise<void>

  /** Makes or refreshes our row of `services`: one UPDATE where it is there. Tells whether an operator disabled it. */
  reportService(row: ServiceRow, signal: AbortSignal): Promise<ServiceState>
  /** One more heartbeat: `report_count` and `updated_at`. Null where the row is gone. */
  heartbeat(host: string, signal: AbortSignal): Promise<ServiceState | null>
  /** When a service last said that it lives; null where it never has. */
  lastHeartbeat(binary: string, host: string, signal: AbortSignal): Promise<string | null>
  /** The lowest RPC version that the services of a binary have announced; null where none has. */
  versionPin(binary: string, signal: AbortSignal): Promise<string | null>
}
