/** Source: cinder/objects/fields.py, BackupStatus. */
export const backupStatuses = [
  'error',
  'error_deleting',
  'creating',
  'available',
  'deleting',
  'deleted',
  'restoring',
] as const

export type BackupStatus = (typeof backupStatuses)[number]

/**
 * One backup as Cinder's database knows it; the field names are the columns'.
 * Source: cinder/objects/backup.py, Backup 1.7. Times are ISO 8601 text with a zone.
 */
export type BackupRecord = {
  readonly id: string
  readonly user_id: string | null
  readonly project_id: string | null
  readonly volume_id: string
  readonly host: string | null
  readonly availability_zone: string | null
  readonly container: string | null
  readonly parent_id: string | null
  readonly status: BackupStatus | null
  readonly fail_reason: string | null
  readonly size: number | null // GiB.
  readonly display_name: string | null
  readonly display_description: string | null
  readonly service_metadata: string | null // The object prefix.
  readonly service: string | null // Upstream's class path of the driver.
  readonly object_count: number
  readonly temp_volume_id: string | null
  readonly temp_snapshot_id: string | null
  readonly num_dependent_backups: number
  readonly snapshot_id: string | null
  readonly data_timestamp: string | null
  readonly restore_volume_id: string | null
  readonly metadata: Readonly<Record<string, string>>
  readonly encryption_key_id: string | null
  readonly created_at: string | null
  readonly updated_at: string | null
  readonly deleted_at: string | null
  readonly deleted: boolean
}

/** What the row of an import names as its volume until it has ended well. Source: cinder/backup/api.py, IMPORT_VOLUME_ID. */
export const importVolumeId = '00000000-0000-0000-0000-000000000000'

/** A record as a request carries it: with its ancestors nested, as far as the sender knew them. */
export type BackupWithParents = {
  readonly record: BackupRecord
  readonly parent: BackupWithParents | null
}

/** The backups that a request's backup builds on, nearest first, as far as the request names them. */
export function ancestorIds(backup: BackupWithParents): readonly string[] {
  const ids: string[] = []
  for (let link: BackupWithParents | null = backup; link !== null; link = link.parent) {
    if (link.record.parent_id !== null) ids.push(link.record.parent_id)
  }
  return ids
}
