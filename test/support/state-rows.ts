import { randomUUID } from 'node:crypto'

import { memoryRecords, memoryTables } from '#src/adapters/records/memory-records.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { JsonObject } from '#src/domain/json.ts'
import type { Columns } from '#src/ports/records.ts'
import { aRecord } from './builders.ts'

export const swiftDriver = 'cinder.backup.drivers.swift.SwiftBackupDriver'

type Fields = Readonly<Record<string, JsonObject[string]>>

/** Cinder's tables in memory, with one backup of one volume (and of a snapshot of it) as its API leaves them. */
export function cinderRows({
  backup = {},
  volume = {},
  snapshot = null,
}: {
  backup?: Partial<BackupRecord>
  /** null: there is none. */
  volume?: Fields | null
  snapshot?: Fields | null
} = {}) {
  const tables = memoryTables()
  const { metadata: _metadata, ...record } = aRecord({
    ...{ host: 'host-1', created_at: '2026-11-22T10:11:12+00:00' },
    ...(snapshot === null ? {} : { snapshot_id: randomUUID() }),
    ...backup,
  })
  tables.backups.push({ ...record })
  const always = { deleted: false, created_at: '2026-11-22T10:11:12+00:00' }
  if (volume !== null) tables.volumes.push({ ...always, ...aVolume(record.volume_id), ...volume })
  if (snapshot !== null) {
    const ids = { id: record.snapshot_id, volume_id: record.volume_id }
    tables.snapshots.push({ ...always, ...ids, volume_size: 1, status: 'backing-up', ...snapshot })
  }
  return {
    tables,
    records: memoryRecords(tables),
    record: { ...record, metadata: {} } satisfies BackupRecord,
    backup: (): Columns => tables.backups.find(({ id }) => id === record.id) ?? {},
    volume: (id = record.volume_id): Columns =>
      tables.volumes.find((row) => row['id'] === id) ?? {},
    snapshot: (): Columns => tables.snapshots[0] ?? {},
    /** `013/020`, of whom. */
    messages: () =>
      tables.messages.map(({ action_id, detail_id, resource_uuid }) => [
        `${action_id}/${detail_id}`,
        resource_uuid,
      ]),
  }
}

/** A volume that Cinder's API has just made ready for a backup. */
export function aVolume(id: string, fields: Fields = {}): Record<string, JsonObject[string]> {
  return {
    id,
    _name_id: null,
    user_id: 'a3f1c6b2d4e54f0f8a9b0c1d2e3f4a5b',
    project_id: '0f8e7d6c5b4a39281706f5e4d3c2b1a0',
    host: 'storage1@lvm#pool',
    cluster_name: null,
    size: 1,
    availability_zone: 'nova',
    status: 'backing-up',
    previous_status: 'available',
    attach_status: 'detached',
    display_name: 'data',
    display_description: null,
    encryption_key_id: null,
    volume_type_id: '1bb332a4-68ae-4355-a07f-3e0df58c3f16',
    bootable: false,
    launched_at: null,
    provider_auth: null,
    ...fields,
  }
}
