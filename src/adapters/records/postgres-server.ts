import type { Socket } from 'node:net'

import { PostgresAdapter, PostgresQueryCompiler } from 'kysely'
import pg from 'pg'

import { type TlsOptions, tlsOptions } from './database-tls.ts'
import type { DatabaseUrl } from './database-url.ts'
import { type Driver, openConnection } from './sql-connection.ts'
import { codeOf, isSocketFailure, type SqlFailure, type SqlServer } from './sql-server.ts'

// Source: PostgreSQL 15, appendix A.
const again = new Set(['40P01', '40001', '55P03', '25P02'])
const schema = new Set(['42P01', '42703'])
const away = new Set([
  '25006', // Read only: the other node is the writer.
  '57014', // Statement cancelled by a time limit of the server.
  '57P01',
  '57P02',
  '57P03',
  '57P05',
])
// Of the driver, which has no codes for them.
const lost = /^(Connection terminated|Client was closed|Client has encountered a connection error)/
const withoutTls = /^The server does not support SSL connections/

const timestampTypes: readonly number[] = [1082, 1114, 1184]

export function postgresServer(url: DatabaseUrl, statementMs: number): SqlServer {
  let tls = url.tls === null ? null : tlsOptions(url.tls)
  const connect = async (signal: AbortSignal) => {
    try {
      return await openConnection(
        url,
        statementMs,
        (socket) => postgresDriver(url, tls, socket),
        signal,
      )
    } catch (error) {
      const isPlain = url.tls?.isOptional === true && withoutTls.test((error as Error).message)
      if (tls === null || !isPlain) throw error
      tls = null // It will not have it next time either.
      return connect(signal)
    }
  }
  return {
    connect,
    failureOf,
    compiler: () => new PostgresQueryCompiler(),
    adapter: () => new PostgresAdapter(),
    currentSchema: 'current_schema()',
  }
}

function postgresDriver(url: DatabaseUrl, tls: TlsOptions | null, socket: Socket): Driver {
  const client = new pg.Client({
    stream: () => socket,
    host: url.socketPath ?? url.host,
    port: url.port,
    user: url.user,
    password: url.password,
    database: url.database,
    application_name: 'cinder-backup',
    ssl: tls === null ? false : tls,
    types: {
      // Naive UTC, as text: no zone may touch it.
      getTypeParser: ((oid: number, format: 'text') =>
        timestampTypes.includes(oid)
          ? (text: string) => text
          : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
    },
  })
  client.on('error', () => undefined) // The statement that needs it hears of it.
  return {
    login: () => client.connect(),
    query: async (text, values) => {
      const { rows, rowCount } = await client.query(text, [...values])
      return { rows, affected: rowCount ?? 0, insertId: null }
    },
    end: () => {
      const close = () => socket.destroy()
      client.end().then(close, close)
    },
  }
}

function failureOf(error: unknown): SqlFailure {
  const code = codeOf(error)
  if (again.has(code)) return 'again'
  if (code === '23505') return 'there'
  if (schema.has(code)) return 'schema'
  // Class 53 is what the server has not enough of now: disk, memory, connections.
  if (away.has(code) || /^(08|53)/.test(code) || isSocketFailure(error)) return 'away'
  return lost.test((error as Error).message) ? 'away' : 'no'
}
