// The few statements that all tables have in common.

import type { Json } from '../../domain/json.ts'
import { recordTime } from '../../lib/time-text.ts'
import type { Columns } from '../../ports/records.ts'
import { deletion, holds, metadataOf, newRow } from './record-rows.ts'
import type { Session } from './sql-session.ts'
import type { TableName } from './sql-tables.ts'

type MetadataTable = 'backup_metadata' | 'volume_metadata' | 'volume_glance_metadata'

const ownerColumn = {
  backup_metadata: 'backup_id',
  volume_metadata: 'volume_id',
  volume_glance_metadata: 'volume_id',
} as const satisfies Record<MetadataTable, string>

/** The row with that id, also a deleted one where `withDeleted`; `locked` until the transaction ends. */
export async function rowOf(
  { statements, columns }: Session,
  table: TableName,
  id: Json,
  { withDeleted = false, locked = false } = {},
): Promise<Columns | null> {
  const row = await statements
    .selectFrom(table)
    .selectAll()
    .where('id', '=', id)
    .$if(!withDeleted, (query) => query.where('deleted', '=', false))
    .$if(locked, (query) => query.forUpdate())
    .executeTakeFirst()
  return row === undefined ? null : columns.fromSql(table, row)
}

/**
 * Writes `change` and `updated_at` into the row, if it is not deleted and its status is one of `from`
 * (null: whatever it is). Tells whether it was so.
 */
export async function changeRow(
  session: Session,
  table: TableName,
  id: string,
  from: readonly (string | null)[] | null,
  change: Columns,
): Promise<boolean> {
  const values = session.columns.toSql(table, { ...change, updated_at: recordTime() })
  const { numUpdatedRows } = await session.statements
    .updateTable(table)
    .set(values)
    .where('id', '=', id)
    .where('deleted', '=', false)
    .$if(from !== null, (query) =>
      query.where(({ eb, or }) => {
        const named = (from ?? []).filter((status) => status !== null)
        return or([
          ...(named.length > 0 ? [eb('status', 'in', named)] : []),
          ...(from?.includes(null) ? [eb('status', 'is', null)] : []),
        ])
      }),
    )
    .executeTakeFirstOrThrow()
  if (numUpdatedRows > 0n) return true
  // It may be our own earlier try that has changed the status.
  if (!session.isRepeated) return false
  const row = await rowOf(session, table, id)
  const wanted = session.columns.fromSql(table, session.columns.toSql(table, change))
  return row !== null && holds(row, wanted)
}

export async function insertRow(
  { statements, columns }: Session,
  table: TableName,
  row: Columns,
): Promise<void> {
  await statements.insertInto(table).values(columns.toSql(table, row)).execute()
}

/** PostgreSQL takes no more than 65,535 values in a statement, and a long list is slow anywhere. */
const ownersMax = 1000

export async function readMetadata(
  session: Session,
  table: MetadataTable,
  ownerIds: readonly string[],
): Promise<ReadonlyMap<string, Record<string, string>>> {
  const rows: Columns[] = []
  for (let from = 0; from < ownerIds.length; from += ownersMax) {
    rows.push(...(await metadataRows(session, table, ownerIds.slice(from, from + ownersMax))))
  }
  const byOwner = Map.groupBy(rows, (row) => String(row[ownerColumn[table]]))
  return new Map(ownerIds.map((id) => [id, metadataOf(byOwner.get(id) ?? [])]))
}

async function metadataRows(
  { statements, columns }: Session,
  table: MetadataTable,
  ownerIds: readonly string[],
): Promise<readonly Columns[]> {
  if (ownerIds.length === 0) return []
  const rows = await statements
    .selectFrom(table)
    .selectAll()
    .where(ownerColumn[table], 'in', ownerIds)
    .where('deleted', '=', false)
    .orderBy('id')
    .execute()
  return rows.map((row) => columns.fromSql(table, row))
}

/** Sets the keys that are given; the others stay, or go where `replaces`. */
export async function writeMetadata(
  session: Session,
  table: MetadataTable,
  ownerId: string,
  metadata: Readonly<Record<string, string>>,
  { replaces }: { readonly replaces: boolean },
): Promise<void> {
  const rows = await metadataRows(session, table, [ownerId])
  const known = new Set<string>()
  for (const { id, key, value } of rows) {
    const wanted = Object.hasOwn(metadata, String(key)) ? metadata[String(key)] : undefined
    known.add(String(key))
    if (wanted === undefined) {
      if (replaces) await setById(session, table, id ?? null, deletion())
    } else if (wanted !== value) {
      await setById(session, table, id ?? null, { value: wanted, updated_at: recordTime() })
    }
  }
  for (const [key, value] of Object.entries(metadata)) {
    if (known.has(key)) continue
    await insertRow(session, table, { ...newRow(), [ownerColumn[table]]: ownerId, key, value })
  }
}

/** Deletes softly all that the owner has. */
export async function deleteMetadata(
  { statements, columns }: Session,
  table: MetadataTable,
  ownerId: string,
): Promise<void> {
  await statements
    .updateTable(table)
    .set(columns.toSql(table, deletion()))
    .where(ownerColumn[table], '=', ownerId)
    .where('deleted', '=', false)
    .execute()
}

export async function setById(
  { statements, columns }: Session,
  table: TableName,
  id: Json,
  change: Columns,
): Promise<void> {
  await statements
    .updateTable(table)
    .set(columns.toSql(table, change))
    .where('id', '=', id)
    .execute()
}
