import type { Log } from '../../ports/log.ts'
import type { Records } from '../../ports/records.ts'
import { type DatabaseUrl, readDatabaseUrl } from './database-url.ts'
import type { RecordTimes } from './record-rows.ts'
import { sqlBackups } from './sql-backups.ts'
import { sqlPool } from './sql-pool.ts'
import type { SqlServer } from './sql-server.ts'
import { sqlServices } from './sql-services.ts'
import { sqlSessions } from './sql-session.ts'
import { sqlVolumes } from './sql-volumes.ts'

export type SqlRecordsOptions = RecordTimes & {
  /** `[database] connection`. */
  readonly url: string
  /** `[database] connection_parameters`. */
  readonly parameters?: string
  /** Galera's `wsrep_sync_wait` of each session; null: as the server has it. */
  readonly wsrepSyncWait?: number | null
  readonly connectionsMax: number
  readonly recycleMs: number
  /** A statement that takes longer counts as an outage. */
  readonly statementMs: number
  /** The longest wait between two tries while the database is away. */
  readonly retryMsMax: number
  readonly log: Log
}

const idleMs = 60_000

/**
 * Cinder's own database, of Zed or later, in MySQL, MariaDB or PostgreSQL. Waits until it is there.
 * Rejects with CONFIGURATION_INVALID and RECORDS_REFUSED, or with the signal's reason.
 */
export async function openSqlRecords(
  options: SqlRecordsOptions,
  signal: AbortSignal,
): Promise<Records> {
  const server = await serverOf(readDatabaseUrl(options.url, options.parameters), options)
  const { connectionsMax, recycleMs, log, retryMsMax } = options
  const pool = sqlPool(server, { connectionsMax, recycleMs, idleMs })
  // What waits for the locks of others must not make Cinder call this host down.
  const heartbeats = sqlPool(server, { connectionsMax: 1, recycleMs, idleMs })
  const close = async () => {
    await Promise.all([pool[Symbol.asyncDispose](), heartbeats[Symbol.asyncDispose]()])
  }
  const sessions = sqlSessions(server, pool, log, retryMsMax)
  try {
    await sessions.open(signal)
  } catch (error) {
    await close()
    throw error
  }
  return {
    ...sqlBackups(sessions, options, log),
    ...sqlVolumes(sessions),
    ...sqlServices(sessions, sessions.on(heartbeats), options),
    [Symbol.asyncDispose]: close,
  }
}

/** Loads the one driver that is needed, and none where there is no database. */
async function serverOf(
  url: DatabaseUrl,
  { statementMs, wsrepSyncWait = null }: SqlRecordsOptions,
): Promise<SqlServer> {
  if (url.kind === 'mysql') {
    const { mysqlServer } = await import('./mysql-server.ts')
    return mysqlServer(url, statementMs, wsrepSyncWait)
  }
  const { postgresServer } = await import('./postgres-server.ts')
  return postgresServer(url, statementMs)
}
