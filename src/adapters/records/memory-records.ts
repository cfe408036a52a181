import { randomUUID } from 'node:crypto'

import type { BackupRecord } from '../../domain/backup-record.ts'
import type { Json } from '../../domain/json.ts'
import { recordTime, utcTime } from '../../lib/time-text.ts'
import type { Columns, Records } from '../../ports/records.ts'
import {
  attachmentOf,
  backupBinary,
  backupOf,
  columnsOf,
  countedStatuses,
  deletion,
  inTheMaking,
  isRestoring,
  messageRow,
  metadataOf,
  newRow,
  quotaOf,
  type RecordTimes,
  reservationRow,
  serviceChange,
  serviceRow,
  snapshotOf,
  strandedAmong,
  temporaryNames,
  usageRow,
  versionPinOf,
  volumeOf,
} from './record-rows.ts'
import { type TableName, tableNames } from './sql-tables.ts'

type Row = { [column: string]: Json }
type Status = string | null

/** Cinder's tables in memory; whoever holds them may put rows in and look at them. */
export type MemoryTables = Readonly<Record<TableName, Row[]>>

export function memoryTables(): MemoryTables {
  return Object.fromEntries(tableNames.map((name) => [name, []])) as unknown as MemoryTables
}

const defaultTimes: RecordTimes = { messageSeconds: 2_592_000, reservationSeconds: 86_400 }

/** The port on tables in memory: each method is done in one go. */
export function memoryRecords(tables: MemoryTables, times: RecordTimes = defaultTimes): Records {
  return {
    ...backupLooks(tables),
    ...backupChanges(tables, times),
    ...volumeRecords(tables),
    ...serviceRecords(tables, times),
    [Symbol.asyncDispose]: async () => undefined,
  }
}

const isThere = (row: Row) => row['deleted'] !== true

function rowOf(rows: readonly Row[], id: Json): Row | null {
  return rows.find((row) => row['id'] === id && isThere(row)) ?? null
}

function change(row: Row | null, from: readonly Status[] | null, changes: Columns): boolean {
  if (row === null) return false
  if (from !== null && !from.includes((row['status'] ?? null) as Status)) return false
  Object.assign(row, plain(changes), { updated_at: recordTime() })
  return true
}

/** As a database gives them back: times in UTC, whole seconds. */
function plain(columns: Columns): Row {
  const entries = Object.entries(columns).map(([name, value]) => {
    const isTime = /_at$|^data_timestamp$/.test(name) && typeof value === 'string'
    return [name, isTime ? utcTime(value) : value]
  })
  return Object.fromEntries(entries)
}

function add(rows: Row[], row: Columns): void {
  const ids = rows.map(({ id }) => (typeof id === 'number' ? id : 0))
  rows.push({ ...(row['id'] === undefined ? { id: Math.max(0, ...ids) + 1 } : {}), ...plain(row) })
}

type MetadataTable = 'backup_metadata' | 'volume_metadata' | 'volume_glance_metadata'

function metadataRows(tables: MemoryTables, table: MetadataTable, ownerId: string): Row[] {
  const owner = table === 'backup_metadata' ? 'backup_id' : 'volume_id'
  return tables[table].filter((row) => row[owner] === ownerId && isThere(row))
}

function writeMetadata(
  tables: MemoryTables,
  table: MetadataTable,
  ownerId: string,
  metadata: Readonly<Record<string, string>>,
  replaces: boolean,
): void {
  const rows = metadataRows(tables, table, ownerId)
  for (const row of rows) {
    const wanted = Object.hasOwn(metadata, String(row['key'])) ? metadata[String(row['key'])] : null
    if (wanted === null || wanted === undefined) {
      if (replaces) Object.assign(row, deletion())
    } else if (wanted !== row['value']) {
      Object.assign(row, { value: wanted, updated_at: recordTime() })
    }
  }
  const owner = table === 'backup_metadata' ? 'backup_id' : 'volume_id'
  for (const [key, value] of Object.entries(metadata)) {
    if (rows.some((row) => row['key'] === key)) continue
    add(tables[table], { ...newRow(), [owner]: ownerId, key, value })
  }
}

function readBackup(tables: MemoryTables, row: Row): BackupRecord {
  const metadata = metadataOf(metadataRows(tables, 'backup_metadata', String(row['id'])))
  return backupOf({ ...row }, metadata)
}

function backupLooks(tables: MemoryTables) {
  const { backups } = tables
  const read = (row: Row) => readBackup(tables, row)
  return {
    backup: async (id, signal) => {
      signal.throwIfAborted()
      const row = backups.find((one) => one['id'] === id)
      return row === undefined ? null : read(row)
    },
    backupsOf: async (host, statuses, signal) => {
      signal.throwIfAborted()
      const wanted = backups.filter((row) => {
        const isNamed = statuses.some((status) => status === row['status'])
        return row['host'] === host && isThere(row) && !isNamed
      })
      const order = (row: Row) => `${row['created_at'] ?? ''} ${row['id']}`
      return wanted.toSorted((a, b) => (order(a) < order(b) ? -1 : 1)).map(read)
    },
    isHeldByLater: async ({ id, created_at, ...of }, signal) => {
      signal.throwIfAborted()
      const since = utcTime(created_at ?? '')
      const isSource = (row: Row) =>
        row['volume_id'] === of.volume_id && (row['snapshot_id'] ?? null) === of.snapshot_id
      return backups.some((row) => {
        const isMade = row['status'] === 'creating' && isThere(row) && row['id'] !== id
        const time = utcTime(String(row['created_at'] ?? ''))
        return isMade && isSource(row) && since !== null && time !== null && time > since
      })
    },
    isRestoredFromOther: async (volumeId, backupId, signal) => {
      signal.throwIfAborted()
      const restored = backups.filter((row) => row['status'] === 'restoring' && isThere(row))
      return restored.some(isRestoring(volumeId, backupId))
    },
    strandedBackups: async (host, since, signal) => {
      signal.throwIfAborted()
      const services = tables.services.filter((row) => row['binary'] === backupBinary)
      const isStranded = strandedAmong(services.filter(isThere), host, since)
      return backups
        .filter((row) => isThere(row) && inTheMaking.some((status) => status === row['status']))
        .filter(isStranded)
        .map(read)
    },
  } satisfies Partial<Records>
}

function backupChanges(tables: MemoryTables, times: RecordTimes) {
  const { backups } = tables
  const changeBackup = (
    id: string,
    from: readonly Status[] | null,
    changes: Partial<BackupRecord>,
  ): boolean => {
    if (!change(rowOf(backups, id), from, columnsOf(changes))) return false
    const { metadata } = changes
    if (metadata !== undefined) writeMetadata(tables, 'backup_metadata', id, metadata, true)
    return true
  }
  const countDependent = (id: string, by: 1 | -1) => {
    const parent = rowOf(backups, id)
    const count = Number(parent?.['num_dependent_backups'] ?? 0)
    const isCounted = ({ status }: Row) => countedStatuses.some((one) => one === status)
    const children = backups.filter((row) => row['parent_id'] === id && isThere(row))
    if (parent === null || (by < 0 && count <= children.filter(isCounted).length)) return
    change(parent, null, { num_dependent_backups: count + by })
  }

  return {
    changeBackup: async (id, from, changes, signal) => {
      signal.throwIfAborted()
      return changeBackup(id, from, changes)
    },
    deleteBackup: async (id, signal) => {
      signal.throwIfAborted()
      const row = rowOf(backups, id)
      if (row === null) return false
      const backup = readBackup(tables, row)
      Object.assign(row, deletion(), { status: 'deleted' })
      for (const entry of metadataRows(tables, 'backup_metadata', id)) {
        Object.assign(entry, deletion())
      }
      if (backup.parent_id !== null) countDependent(backup.parent_id, -1)
      giveQuotaBack(tables, backup, times)
      return true
    },
    finishBackup: async (id, from, changes, signal) => {
      signal.throwIfAborted()
      if (!changeBackup(id, from, changes)) return false
      const parentId = rowOf(backups, id)?.['parent_id']
      if (typeof parentId === 'string') countDependent(parentId, 1)
      return true
    },
  } satisfies Partial<Records>
}

function giveQuotaBack(tables: MemoryTables, backup: BackupRecord, times: RecordTimes): void {
  const { quota_usages: usages, reservations, backups } = tables
  const { project_id: projectId } = backup
  if (projectId === null) return
  for (const [resource, amount] of quotaOf(backup)) {
    const isUsage = (row: Row) =>
      row['project_id'] === projectId && row['resource'] === resource && isThere(row)
    const delta = -amount || 0
    const known = usages.find(isUsage)
    if (known !== undefined) {
      const inUse = Math.max(0, Number(known['in_use']) + delta)
      Object.assign(known, { in_use: inUse, updated_at: recordTime() })
    } else {
      const left = backups.filter((row) => row['project_id'] === projectId && isThere(row))
      const sizes = left.map((row) => Number(row['size'] ?? 0))
      const inUse = resource === 'backups' ? left.length : sizes.reduce((a, b) => a + b, 0)
      add(usages, usageRow(projectId, resource, inUse))
    }
    const usageId = usages.find(isUsage)?.['id'] ?? null
    const uuid = randomUUID()
    add(reservations, reservationRow(uuid, usageId, projectId, resource, delta, times))
  }
}

function volumeRecords(tables: MemoryTables) {
  const { volumes, snapshots, backups } = tables
  return {
    volume: async (id, signal) => {
      signal.throwIfAborted()
      const row = rowOf(volumes, id)
      if (row === null) return null
      const metadata = metadataOf(metadataRows(tables, 'volume_metadata', id))
      const glance = metadataOf(metadataRows(tables, 'volume_glance_metadata', id))
      return volumeOf({ ...row }, metadata, glance)
    },
    changeVolume: async (id, from, changes, signal) => {
      signal.throwIfAborted()
      return change(rowOf(volumes, id), from, changes)
    },
    mergeVolumeMetadata: async (id, metadata, signal) => {
      signal.throwIfAborted()
      if (rowOf(volumes, id) === null) return
      writeMetadata(tables, 'volume_metadata', id, metadata, false)
    },
    replaceVolumeMetadata: async (id, kind, metadata, signal) => {
      signal.throwIfAborted()
      if (rowOf(volumes, id) === null) return
      const table = kind === 'volume' ? 'volume_metadata' : 'volume_glance_metadata'
      if (kind === 'glance') {
        for (const row of metadataRows(tables, table, id)) Object.assign(row, deletion())
      }
      writeMetadata(tables, table, id, metadata, true)
    },
    snapshot: async (id, signal) => {
      signal.throwIfAborted()
      const row = rowOf(snapshots, id)
      return row === null ? null : snapshotOf({ ...row })
    },
    changeSnapshot: async (id, from, status, signal) => {
      signal.throwIfAborted()
      return change(rowOf(snapshots, id), from, { status })
    },
    strayTemporaries: async (volumeId, signal) => {
      signal.throwIfAborted()
      const strays = (table: 'volumes' | 'snapshots', column: string) => {
        const named = new Set(backups.map((row) => row[column]))
        const name = temporaryNames[table](volumeId)
        const isOne = (row: Row) => row['display_name'] === name && row['use_quota'] === false
        return tables[table].filter((row) => isThere(row) && isOne(row) && !named.has(row['id']))
      }
      const volumeRows = strays('volumes', 'temp_volume_id')
      const snapshotRows = strays('snapshots', 'temp_snapshot_id')
      const isCreating = (row: Row) => row['volume_id'] === volumeId && row['status'] === 'creating'
      const isAny = volumeRows.length + snapshotRows.length > 0
      return {
        volumes: volumeRows.map((row) => volumeOf({ ...row }, {}, {})),
        snapshots: snapshotRows.map((row) => snapshotOf({ ...row })),
        isInHand: isAny && backups.some((row) => isThere(row) && isCreating(row)),
      }
    },
    attachmentsOf: async (volumeId, host, signal) => {
      signal.throwIfAborted()
      return tables.volume_attachment
        .filter((row) => row['volume_id'] === volumeId && isThere(row))
        .map(attachmentOf)
        .filter((row) => row.attached_host === host && row.instance_uuid === null)
    },
  } satisfies Partial<Records>
}

function serviceRecords(tables: MemoryTables, times: RecordTimes) {
  const { services, messages } = tables
  const ofBinary = (binary: string) =>
    services.filter((row) => row['binary'] === binary && isThere(row))
  const ours = (host: string) => ofBinary(backupBinary).find((row) => row['host'] === host)
  return {
    addMessage: async (message, signal) => {
      signal.throwIfAborted()
      add(messages, messageRow(randomUUID(), message, times))
    },
    reportService: async (service, signal) => {
      signal.throwIfAborted()
      const row = ours(service.host)
      if (row === undefined) {
        add(services, serviceRow(randomUUID(), service))
        return { disabled: service.disabled }
      }
      const uuid = row['uuid'] ?? randomUUID()
      Object.assign(row, serviceChange(service), { uuid, updated_at: recordTime() })
      return { disabled: row['disabled'] === true }
    },
    heartbeat: async (host, signal) => {
      signal.throwIfAborted()
      const row = ours(host)
      if (row === undefined) return null
      const count = Number(row['report_count'] ?? 0) + 1
      Object.assign(row, { report_count: count, updated_at: recordTime() })
      return { disabled: row['disabled'] === true }
    },
    lastHeartbeat: async (binary, host, signal) => {
      signal.throwIfAborted()
      const { updated_at: at = null } = ofBinary(binary).find((row) => row['host'] === host) ?? {}
      return at === null ? null : String(at)
    },
    versionPin: async (binary, signal) => {
      signal.throwIfAborted()
      return versionPinOf(ofBinary(binary))
    },
  } satisfies Partial<Records>
}
