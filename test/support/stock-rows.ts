import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'

import type { JsonObject } from '#src/domain/json.ts'
import { cinderSql, jsonOf } from './cinder-rows.ts'
import type { RowChange, Rows } from './row-changes.ts'
import { checkout } from './services.ts'

const folder = path.join(checkout, 'test/samples/stock-rows')

export type RecordedStep = {
  /** As its file begins: two digits and what was done. */
  readonly name: string
  readonly number: string
  readonly changes: readonly RowChange[]
}

/** What Cinder with its own backup service did; see the samples' README. */
export function recordedSteps(): readonly RecordedStep[] {
  return globSync('*.json', { cwd: folder })
    .toSorted()
    .map((file) => ({
      name: path.basename(file, '.json'),
      number: file.slice(0, 2),
      changes: JSON.parse(readFileSync(path.join(folder, file), 'utf8')),
    }))
}

const tables = [
  'backups',
  'backup_metadata',
  'volumes',
  'volume_metadata',
  'volume_admin_metadata',
  'volume_attachment',
  'snapshots',
  'services',
  'quota_usages',
  'reservations',
  'messages',
  'workers',
]

let statement: string | undefined

/** The rows of all the tables that were recorded. */
export async function cinderSnapshot(): Promise<Rows> {
  if (statement === undefined) {
    const selects: string[] = []
    for (const table of tables) selects.push(`SELECT '${table}', ${await jsonOf(table)}`)
    statement = selects.join(' UNION ALL ')
  }
  const rows = new Map<string, { readonly table: string; readonly row: JsonObject }>()
  for (const line of (await cinderSql(statement)).split('\n')) {
    if (line === '') continue
    const end = line.search(/[\t|]/)
    const table = line.slice(0, end)
    const { binary, ...columns } = JSON.parse(line.slice(end + 1)) as JsonObject
    // Each service that was recorded had one host; another that was there and is removed is none of it.
    if (table === 'services' && [1, true].includes(columns['deleted'] as never)) continue
    const row = table === 'services' ? { ...columns, id: binary ?? null } : columns
    rows.set(`${table} ${row['id']}`, { table, row })
  }
  return rows
}
