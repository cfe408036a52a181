import { sql } from 'kysely'

import { AgentError } from '../../domain/errors.ts'
import type { Json } from '../../domain/json.ts'
import { utcTime } from '../../lib/time-text.ts'
import type { Columns } from '../../ports/records.ts'
import type { SqlServer, Statements } from './sql-server.ts'
import { type TableName, tableNames } from './sql-tables.ts'

type Kind = 'time' | 'boolean' | 'number' | 'text'

type Column = {
  readonly kind: Kind
  /** Takes no character beyond the Basic Multilingual Plane, as MySQL's old utf8. */
  readonly isNarrow: boolean
}

type Values = Record<string, unknown>

/** Which columns the tables have, and how values get in and out of them. */
export interface TableColumns {
  /** The values as the server takes them; of columns that are not there nothing. */
  toSql(table: TableName, columns: Columns): Values
  /** A row as the port has it: times with a zone, booleans true or false. */
  fromSql(table: TableName, row: Readonly<Values>): Record<string, Json>
}

/** Asks the database; throws RECORDS_REFUSED where it is not Cinder's. */
export async function readTableColumns(
  statements: Statements,
  server: SqlServer,
): Promise<TableColumns> {
  const { rows } = await sql<Record<string, string | null>>`
    select table_name as t, column_name as c, data_type as d, character_set_name as s
    from information_schema.columns
    where table_schema = ${sql.raw(server.currentSchema)}
      and table_name in (${sql.join(tableNames)})`.execute(statements)
  const tables = new Map<string, Map<string, Column>>()
  for (const { t, c, d, s } of rows) {
    const columns = tables.get(String(t)) ?? new Map<string, Column>()
    tables.set(String(t), columns)
    columns.set(String(c), {
      kind: kindOf(String(d)),
      isNarrow: s === 'utf8' || s === 'utf8mb3',
    })
  }
  const missing = tableNames.filter((name) => !tables.has(name))
  if (missing.length > 0) {
    throw new AgentError(
      'RECORDS_REFUSED',
      `the database of [database] connection has no table ${missing.join(', ')}: is it Cinder's, ` +
        'and was cinder-manage db sync run?',
    )
  }
  return tableColumns(tables)
}

function tableColumns(tables: ReadonlyMap<string, ReadonlyMap<string, Column>>): TableColumns {
  const columnOf = (table: TableName, name: string) => tables.get(table)?.get(name)
  return {
    toSql: (table, columns) => {
      const values: Values = {}
      for (const [name, value] of Object.entries(columns)) {
        const column = columnOf(table, name)
        if (column !== undefined) values[name] = sqlValue(column, value)
      }
      return values
    },
    fromSql: (table, row) => {
      const columns: Record<string, Json> = {}
      for (const [name, value] of Object.entries(row)) {
        columns[name] = plainValue(columnOf(table, name)?.kind ?? 'text', value)
      }
      return columns
    },
  }
}

function kindOf(type: string): Kind {
  if (/^(datetime|timestamp)/i.test(type)) return 'time'
  if (/^(tinyint|bool)/i.test(type)) return 'boolean' // Every tinyint of Cinder is one.
  return /int|numeric|decimal|double|float|real/i.test(type) ? 'number' : 'text'
}

function sqlValue({ kind, isNarrow }: Column, value: Json): unknown {
  if (value === null) return null
  if (kind === 'time') return sqlTime(String(value))
  if (kind === 'boolean') return Boolean(value)
  if (kind === 'number') return Number(value)
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  // A status must not be lost for a character in the text beside it.
  const storable = text.replaceAll('\0', '\ufffd')
  return isNarrow ? storable.replaceAll(/[\u{10000}-\u{10ffff}]/gu, '\ufffd') : storable
}

/** '2026-11-23T00:20:54+01:00' → '2026-11-22 23:20:54': naive UTC in whole seconds, as MySQL keeps them. */
function sqlTime(text: string): string {
  const time = utcTime(text)
  if (time === null) throw new AgentError('RECORD_INVALID', `${text} is not a time`)
  return time.replace('T', ' ').slice(0, 19)
}

function plainValue(kind: Kind, value: unknown): Json {
  if (value === null || value === undefined) return null
  if (kind === 'time') return `${String(value).slice(0, 19).replace(' ', 'T')}Z`
  if (kind === 'boolean') return value === true || value === 1 || value === '1'
  if (kind === 'number') return Number(value)
  return String(value)
}
