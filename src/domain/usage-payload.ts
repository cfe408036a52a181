import type { BackupRecord } from './backup-record.ts'
import type { JsonObject } from './json.ts'

/**
 * What every `backup.*` event says of a backup, under Cinder's keys.
 * Source: cinder/volume/volume_utils.py, `_usage_from_backup`.
 */
export function usagePayload(record: BackupRecord): JsonObject {
  return {
    tenant_id: record.project_id,
    user_id: record.user_id,
    availability_zone: record.availability_zone,
    backup_id: record.id,
    host: record.host,
    display_name: record.display_name,
    created_at: record.created_at === null ? null : zonedTime(record.created_at),
    status: record.status,
    volume_id: record.volume_id,
    size: record.size,
    service_metadata: record.service_metadata,
    service: record.service,
    fail_reason: record.fail_reason,
    parent_id: record.parent_id,
    num_dependent_backups: record.num_dependent_backups,
    snapshot_id: record.snapshot_id,
  }
}

/** '2026-11-22T10:11:12Z' → '2026-11-22T10:11:12+00:00'; a time without a zone means UTC. */
export function zonedTime(text: string): string {
  const time = text.replace(' ', 'T')
  if (time.endsWith('Z')) return `${time.slice(0, -1)}+00:00`
  return /[+-]\d\d:?\d\d$/.test(time) ? time : `${time}+00:00`
}
