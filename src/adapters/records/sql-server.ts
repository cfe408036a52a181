import type { DialectAdapter, Kysely, QueryCompiler } from 'kysely'

import type { Database } from './sql-tables.ts'

export type SqlResult = {
  readonly rows: readonly Readonly<Record<string, unknown>>[]
  /** Rows that an UPDATE or INSERT found, whether it changed their values or not. */
  readonly affected: number
  /** The id that the server gave to an inserted row, where it tells. */
  readonly insertId: number | null
}

/** A connection, whose statements have a time limit. One statement at a time. */
export interface SqlConnection {
  run(sql: string, parameters: readonly unknown[]): Promise<SqlResult>
  /** Says goodbye. */
  end(): void
  /** Closes at once: what runs on it rejects. Also where it was closed before. */
  destroy(): void
  /** Whether the server has gone or the connection was closed. */
  readonly isClosed: boolean
}

/**
 * What to do about a failure:
 * `again`: the server undid our transaction for the sake of another's (a deadlock);
 * `away`: the server, or the way to it, is not there now;
 * `there`: a row with that key exists;
 * `schema`: a table or column is not there;
 * `no`: it will say the same again.
 */
export type SqlFailure = 'again' | 'away' | 'there' | 'schema' | 'no'

/** A database server of one kind, through its driver. */
export interface SqlServer {
  /** Rejects with the driver's error, or with the signal's reason. */
  connect(signal: AbortSignal): Promise<SqlConnection>
  failureOf(error: unknown): SqlFailure
  /** Kysely's knowledge of the dialect. */
  readonly compiler: () => QueryCompiler
  readonly adapter: () => DialectAdapter
  /** `information_schema` calls the database or schema that we are in so. */
  readonly currentSchema: string
}

/** Builds statements and runs them on one connection. */
export type Statements = Kysely<Database>

/** The code that both drivers give their errors. */
export function codeOf(error: unknown): string {
  const { code, errno } = error as { code?: unknown; errno?: unknown }
  return String(code ?? errno ?? '')
}

// What the system says of sockets. Those of TLS are told apart by who connects.
const socketCodes = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ENETDOWN',
  'ENOENT', // A Unix socket whose server does not run.
  'EADDRNOTAVAIL',
  'EMFILE',
  'ERR_STREAM_DESTROYED',
])

export function isSocketFailure(error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.some(isSocketFailure)
  return socketCodes.has(codeOf(error))
}
