/** A row as the drivers take and give it. */
type AnyRow = Record<string, unknown>

/** The tables of Cinder that we use. What columns they have is asked from the database itself. */
export type Database = Record<TableName, AnyRow>

export const tableNames = [
  'backups',
  'backup_metadata',
  'volumes',
  'volume_metadata',
  'volume_glance_metadata',
  'volume_attachment',
  'snapshots',
  'services',
  'quota_usages',
  'reservations',
  'messages',
] as const

export type TableName = (typeof tableNames)[number]
