// What rows mean, and what new ones hold: the same in the database and in memory.

import type { BackupRecord, BackupStatus } from '../../domain/backup-record.ts'
import type { Json } from '../../domain/json.ts'
import { recordTime, recordTimeIn } from '../../lib/time-text.ts'
import type {
  AttachmentRow,
  Columns,
  ServiceRow,
  SnapshotRow,
  UserMessage,
  VolumeRow,
} from '../../ports/records.ts'

export const backupBinary = 'cinder-backup'

export type RecordTimes = {
  /** How long a message is kept, `message_ttl`. */
  readonly messageSeconds: number
  /** How long a reservation would hold, `reservation_expire`. */
  readonly reservationSeconds: number
}

const textOf = (value: Json | undefined) => (typeof value === 'string' ? value : null)
const numberOf = (value: Json | undefined) => (typeof value === 'number' ? value : null)

export function metadataOf(rows: readonly Columns[]): Record<string, string> {
  return Object.fromEntries(rows.map(({ key, value }) => [String(key), String(value ?? '')]))
}

export function backupOf(row: Columns, metadata: Readonly<Record<string, string>>): BackupRecord {
  return {
    id: String(row['id']),
    user_id: textOf(row['user_id']),
    project_id: textOf(row['project_id']),
    volume_id: String(row['volume_id']),
    host: textOf(row['host']),
    availability_zone: textOf(row['availability_zone']),
    container: textOf(row['container']),
    parent_id: textOf(row['parent_id']),
    status: textOf(row['status']) as BackupRecord['status'],
    fail_reason: textOf(row['fail_reason']),
    size: numberOf(row['size']),
    display_name: textOf(row['display_name']),
    display_description: textOf(row['display_description']),
    service_metadata: textOf(row['service_metadata']),
    service: textOf(row['service']),
    object_count: numberOf(row['object_count']) ?? 0,
    temp_volume_id: textOf(row['temp_volume_id']),
    temp_snapshot_id: textOf(row['temp_snapshot_id']),
    num_dependent_backups: numberOf(row['num_dependent_backups']) ?? 0,
    snapshot_id: textOf(row['snapshot_id']),
    data_timestamp: textOf(row['data_timestamp']),
    restore_volume_id: textOf(row['restore_volume_id']),
    metadata,
    encryption_key_id: textOf(row['encryption_key_id']),
    created_at: textOf(row['created_at']),
    updated_at: textOf(row['updated_at']),
    deleted_at: textOf(row['deleted_at']),
    deleted: row['deleted'] === true,
  }
}

/** In which a backup has ended well, and so is counted by its parent. One that is deleted takes itself off. */
export const countedStatuses: readonly BackupStatus[] = ['available', 'restoring']
export const inTheMaking = ['creating', 'restoring', 'deleting'] as const

/** Whether a row that is in the making is nobody's: of no host, or of one that is silent, and not ours. */
export function strandedAmong(
  services: readonly Columns[],
  ourHost: string,
  since: string,
): (row: Columns) => boolean {
  const sinceMs = Date.parse(since)
  const isFresh = ({ updated_at, created_at }: Columns) =>
    Date.parse(String(updated_at ?? created_at)) >= sinceMs
  const alive = new Set<Json | undefined>(services.filter(isFresh).map(({ host }) => host))
  alive.add(ourHost)
  return (row) => !isFresh(row) && !alive.has(row['host'])
}

/** Whether a row is another backup's than `backupId`, restored onto the volume: MySQL alone takes `A` for `a`. */
export function isRestoring(
  volumeId: string,
  backupId: string,
): (row: { readonly id?: unknown; readonly restore_volume_id?: unknown }) => boolean {
  return ({ id, restore_volume_id: target }) =>
    id !== backupId && String(target).toLowerCase() === volumeId.toLowerCase()
}

/** What of a change is columns; id and metadata are none. */
export function columnsOf({ id, metadata, ...columns }: Partial<BackupRecord>): Columns {
  return columns
}

export function volumeOf(
  columns: Columns,
  metadata: Readonly<Record<string, string>>,
  glanceMetadata: Readonly<Record<string, string>>,
): VolumeRow {
  return {
    id: String(columns['id']),
    project_id: textOf(columns['project_id']),
    host: textOf(columns['host']),
    cluster_name: textOf(columns['cluster_name']),
    size: numberOf(columns['size']) ?? 0,
    status: textOf(columns['status']),
    previous_status: textOf(columns['previous_status']),
    encryption_key_id: textOf(columns['encryption_key_id']),
    columns,
    metadata,
    glanceMetadata,
  }
}

export function snapshotOf(columns: Columns): SnapshotRow {
  return {
    id: String(columns['id']),
    volume_id: String(columns['volume_id']),
    status: textOf(columns['status']),
    columns,
  }
}

/** Source: cinder/volume/driver.py, `_create_temp_volume` and `_create_temp_snapshot`. */
export const temporaryNames = {
  volumes: (volumeId: string) => `backup-vol-${volumeId}`,
  snapshots: (volumeId: string) => `backup-snap-${volumeId}`,
}

export function attachmentOf(row: Columns): AttachmentRow {
  return {
    id: String(row['id']),
    volume_id: String(row['volume_id']),
    attached_host: textOf(row['attached_host']),
    instance_uuid: textOf(row['instance_uuid']),
  }
}

/** What each new row begins with. Source: cinder/db/sqlalchemy/models.py, CinderBase. */
export function newRow(): Columns {
  return { created_at: recordTime(), updated_at: null, deleted_at: null, deleted: false }
}

/** What becomes of a row that goes; who deletes it is no change: `updated_at` stays. */
export function deletion(): Columns {
  return { deleted: true, deleted_at: recordTime() }
}

/** Source: cinder/message/api.py, API.create. */
export function messageRow(
  id: string,
  message: UserMessage,
  { messageSeconds }: RecordTimes,
): Columns {
  const { projectId, requestId, resourceType, resourceId, actionId, detailId } = message
  return {
    ...newRow(),
    id,
    project_id: projectId,
    request_id: requestId,
    resource_type: resourceType,
    resource_uuid: resourceId,
    action_id: actionId,
    detail_id: detailId,
    event_id: `VOLUME_${resourceType}_${actionId}_${detailId}`,
    message_level: 'ERROR',
    expires_at: recordTimeIn(messageSeconds),
  }
}

/** Source: cinder/service.py, Service._create_service_ref, and objects/service.py, create. */
export function serviceRow(uuid: string, service: ServiceRow): Columns {
  return {
    ...newRow(),
    host: service.host,
    binary: backupBinary,
    topic: backupBinary,
    report_count: 0,
    disabled: service.disabled,
    ...serviceChange(service),
    replication_status: 'not-capable',
    frozen: false,
    cluster_name: null,
    uuid,
  }
}

/** What each start says anew. */
export function serviceChange(service: ServiceRow): Columns {
  return {
    availability_zone: service.availabilityZone,
    rpc_current_version: service.rpcVersion,
    object_current_version: service.objectVersion,
  }
}

/** Versions are compared by their numbers: 1.10 is after 1.9. A row that says none says nothing. */
export function versionPinOf(services: readonly Columns[]): string | null {
  const versions = services.map((row) => row['rpc_current_version'])
  const known = versions.filter((version) => typeof version === 'string')
  return known.toSorted(compareVersions)[0] ?? null
}

function compareVersions(a: string, b: string): number {
  const [left, right] = [a.split('.').map(Number), b.split('.').map(Number)]
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

/** Quota of a backup, by resource. Source: cinder/backup/manager.py, delete_backup. */
export function quotaOf({ size }: BackupRecord): readonly (readonly [string, number])[] {
  return [
    ['backups', 1],
    ['backup_gigabytes', size ?? 0],
  ]
}

/** The trace of quota that was given back: reserved, committed and gone. Source: recorded rows. */
export function reservationRow(
  uuid: string,
  usageId: Json,
  projectId: string,
  resource: string,
  delta: number,
  { reservationSeconds }: RecordTimes,
): Columns {
  const time = recordTime()
  return {
    created_at: time,
    updated_at: time,
    deleted_at: time,
    deleted: true,
    uuid,
    usage_id: usageId,
    project_id: projectId,
    resource,
    delta,
    expire: recordTimeIn(reservationSeconds),
    allocated_id: null,
  }
}

export function usageRow(projectId: string, resource: string, inUse: number): Columns {
  return {
    ...newRow(),
    project_id: projectId,
    resource,
    in_use: inUse,
    reserved: 0,
    until_refresh: null,
    race_preventer: true,
  }
}

/** Whether a row already holds what a change would write. */
export function holds(row: Columns, change: Columns): boolean {
  return Object.entries(change).every(
    ([name, value]) => row[name] === undefined || row[name] === value,
  )
}
