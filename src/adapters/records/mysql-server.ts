import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

import { MysqlAdapter, MysqlQueryCompiler } from 'kysely'
import { createConnection, type QueryResult, type ResultSetHeader } from 'mysql2'

import { type TlsOptions, tlsOptions } from './database-tls.ts'
import type { DatabaseUrl } from './database-url.ts'
import { type Driver, openConnection } from './sql-connection.ts'
import {
  codeOf,
  isSocketFailure,
  type SqlFailure,
  type SqlResult,
  type SqlServer,
} from './sql-server.ts'

// Numbers of MySQL's, MariaDB's and Galera's errors. Source: their error message references.
const failures: Readonly<Record<Exclude<SqlFailure, 'no'>, readonly number[]>> = {
  again: [
    1205, // Lock wait timeout.
    1213, // Deadlock; Galera also at COMMIT.
    1020, // Record has changed since last read (MariaDB with innodb_snapshot_isolation).
    1614, // Deadlock in XA.
    3101, // Group replication: another node was first.
  ],
  away: [
    1021, // The disk is full; where InnoDB meets that, it says that a table is.
    1114,
    1037, // Out of memory.
    1038,
    1041,
    1040, // Too many connections.
    1047, // WSREP: the node is not in its cluster.
    1053, // Shutdown in progress.
    1077,
    1078,
    1079,
    1080,
    1129, // Host is blocked.
    1135, // No thread.
    1152,
    1153,
    1158,
    1159,
    1160,
    1161,
    1184,
    1203, // Too many connections of this user.
    1226, // Too much of a resource of this user.
    1290, // Runs with --read-only: the other node is the writer.
    1317, // Query interrupted.
    1792, // Reads only, by the session's default: the other node is the writer.
    1836, // Read only mode.
    1927, // Connection was killed.
    1969, // max_statement_time.
    2002,
    2003,
    2006,
    2013,
    2055,
    3024, // max_execution_time.
    3100, // Group replication: the node is not in its group.
    4031, // Disconnected for inactivity.
    9001, // ProxySQL reaches no server.
  ],
  there: [1062],
  schema: [1054, 1146],
}

/** MySQL, MariaDB and Galera. */
export function mysqlServer(
  url: DatabaseUrl,
  statementMs: number,
  wsrepSyncWait: number | null = null,
): SqlServer {
  const tls = url.tls === null ? null : tlsOptions(url.tls)
  return {
    connect: async (signal) => {
      const connection = await openConnection(
        url,
        statementMs,
        (socket) => mysqlDriver(url, tls, socket),
        signal,
      )
      try {
        // As oslo.db does: what does not fit a column is an error. Backslashes escape then.
        // A statement alone is a transaction, whatever the server's default is.
        const galera = wsrepSyncWait === null ? '' : `, wsrep_sync_wait = ${wsrepSyncWait}`
        await connection.run(`SET SESSION sql_mode = 'TRADITIONAL', autocommit = 1${galera}`, [])
        return connection
      } catch (error) {
        connection.destroy()
        throw error
      }
    },
    failureOf,
    compiler: () => new MysqlQueryCompiler(),
    adapter: () => new MysqlAdapter(),
    currentSchema: 'database()',
  }
}

function mysqlDriver(url: DatabaseUrl, tls: TlsOptions | null, socket: Socket): Driver {
  if (url.socketPath === null) socket.connect(url.port, url.host)
  else socket.connect(url.socketPath)
  const connection = createConnection({
    stream: socket,
    host: url.host, // What the certificate is for.
    user: url.user,
    password: url.password,
    database: url.database,
    charset: 'utf8mb4_general_ci',
    connectTimeout: 0, // Ours counts.
    dateStrings: true, // Naive UTC: no zone may touch them.
    flags: ['FOUND_ROWS'], // An UPDATE that finds its row has done its work, also where all was so before.
    // A copy, by which the driver finds no session of another connection: a server that takes one up again
    // shows no certificate, and every connection but the first would be refused for it.
    ...(tls === null ? {} : { ssl: { ...tls } }),
  })
  connection.on('error', () => undefined) // The statement that needs it hears of it.
  return {
    login: () =>
      new Promise<void>((resolve, reject) => {
        connection.connect((error) => {
          const refusal =
            error ?? foreignCertificate(tls, url.host, Reflect.get(connection, 'stream'))
          if (refusal === undefined) resolve()
          else reject(refusal)
        })
      }),
    query: (sql, values) =>
      new Promise((resolve, reject) => {
        connection.query(
          { sql, values: [...values] as (string | number | boolean | null)[] },
          (error, result) => {
            if (error === null) resolve(resultOf(result))
            else reject(error)
          },
        )
      }),
    end: () => {
      connection.end(() => socket.destroy())
    },
  }
}

/**
 * The driver's own check knows no addresses, only names: ours is made as soon as it lets us. A password
 * does not go over the wire in clear before that.
 */
function foreignCertificate(tls: TlsOptions | null, host: string, stream: unknown) {
  if (tls === null || !(stream instanceof TLSSocket)) return undefined
  return tls.checkServerIdentity(host, stream.getPeerCertificate())
}

function resultOf(result: QueryResult): SqlResult {
  if (Array.isArray(result)) {
    return { rows: result as SqlResult['rows'], affected: 0, insertId: null }
  }
  const { affectedRows, insertId } = result as ResultSetHeader
  return { rows: [], affected: affectedRows, insertId: insertId || null }
}

function failureOf(error: unknown): SqlFailure {
  const { errno, fatal } = error as { errno?: unknown; fatal?: unknown }
  for (const [failure, numbers] of Object.entries(failures)) {
    if (numbers.includes(Number(errno))) return failure as SqlFailure
  }
  if (isSocketFailure(error) || codeOf(error) === 'PROTOCOL_CONNECTION_LOST') return 'away'
  // A connection that broke earlier has an error without any code.
  return fatal === true && codeOf(error) === '' ? 'away' : 'no'
}
