import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { openSqlRecords, type SqlRecordsOptions } from '#src/adapters/records/sql-records.ts'
import type { Json } from '#src/domain/json.ts'
import type { PrivateDatabase } from './private-database.ts'
import type { RecordsBench } from './records-bench.ts'

const time = /^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d/

const isoTime = (value: Json) =>
  typeof value === 'string' && time.test(value) ? `${value.slice(0, 19).replace(' ', 'T')}Z` : value
const sqlTime = (value: Json) =>
  typeof value === 'string' && time.test(value) ? value.slice(0, 19).replace('T', ' ') : value

export function sqlOptions(url: string, options: Partial<SqlRecordsOptions> = {}) {
  return {
    url,
    connectionsMax: 4,
    recycleMs: 3_600_000,
    statementMs: 30_000,
    retryMsMax: 200,
    messageSeconds: 2_592_000,
    reservationSeconds: 86_400,
    log: recordingLog(),
    ...options,
  }
}

/** The contract's bench on a real server. */
export function sqlBench(database: PrivateDatabase): RecordsBench {
  const mapped = (row: Readonly<Record<string, Json>>, map: (value: Json) => Json) =>
    Object.fromEntries(Object.entries(row).map(([name, value]) => [name, map(value)]))
  return {
    open: () => openSqlRecords(sqlOptions(database.url), new AbortController().signal),
    insert: (table, row) => database.insert(table, mapped(row, sqlTime)),
    rows: async (table) => (await database.rows(table)).map((row) => mapped(row, isoTime)),
  }
}
