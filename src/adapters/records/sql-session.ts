import {
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  DummyDriver,
  Kysely,
  type QueryResult,
} from 'kysely'

import { AgentError } from '../../domain/errors.ts'
import { type RetryPolicy, retry } from '../../lib/retry.ts'
import type { Log } from '../../ports/log.ts'
import type { SqlPool } from './sql-pool.ts'
import type { SqlConnection, SqlServer, Statements } from './sql-server.ts'
import type { Database } from './sql-tables.ts'
import { readTableColumns, type TableColumns } from './table-columns.ts'

/** What a piece of work has of the database. */
export type Session = {
  readonly statements: Statements
  readonly columns: TableColumns
  /**
   * An earlier try ended in silence: what this work is to do may have been done by it. Who finds so
   * should look before it says that somebody else was first.
   */
  readonly isRepeated: boolean
}

export interface SqlSessions {
  /** Waits until the database is there and is Cinder's. Rejects with RECORDS_REFUSED where it is not. */
  open(signal: AbortSignal): Promise<void>
  /** Runs statements that stand for themselves; `what` is said where the database refuses. */
  run<T>(what: string, signal: AbortSignal, work: (session: Session) => Promise<T>): Promise<T>
  /** Runs them as one transaction. */
  transact<T>(what: string, signal: AbortSignal, work: (session: Session) => Promise<T>): Promise<T>
  /** The same on connections of its own; an outage is told once for all. */
  on(pool: SqlPool): SqlSessions
}

/** As oslo.db: after so many deadlocks it is no longer chance. */
const deadlocksMax = 5

const backoffMs = 500

/**
 * Work is tried again after a deadlock, and while the database is away, with one warning an outage,
 * until `signal` aborts.
 */
export function sqlSessions(
  server: SqlServer,
  pool: SqlPool,
  log: Log,
  backoffMsMax: number,
): SqlSessions {
  let columns: TableColumns | null = null
  let isAway = false
  /** How often the database was there: a try that began before the last time says nothing against it. */
  let answers = 0

  const attempt = async <T>(
    from: SqlPool,
    signal: AbortSignal,
    isRepeated: boolean,
    isTransaction: boolean,
    work: (session: Session) => Promise<T>,
  ): Promise<T> =>
    from.use(signal, async (connection) => {
      const statements = statementsOn(connection, server)
      columns ??= await readTableColumns(statements, server)
      const session = { statements, columns, isRepeated }
      if (!isTransaction) return work(session)
      await connection.run('BEGIN', [])
      const result = await work(session)
      await connection.run('COMMIT', [])
      return result
    })

  const returned = () => {
    answers += 1
    if (!isAway) return
    isAway = false
    log.info('the database is back')
  }

  const persist = async <T>(
    from: SqlPool,
    what: string,
    signal: AbortSignal,
    isTransaction: boolean,
    work: (session: Session) => Promise<T>,
  ): Promise<T> => {
    let isRepeated = false
    let deadlocks = 0
    let answersBefore = answers
    const isRetryable = (error: unknown) => {
      if (error instanceof AgentError) return false
      const failure = server.failureOf(error)
      if (failure === 'away') isRepeated = true
      if (failure === 'schema') columns = null // An upgrade has changed it under us.
      if (failure === 'again' || failure === 'schema' || failure === 'there') {
        deadlocks += 1
        return deadlocks <= deadlocksMax
      }
      return failure === 'away'
    }
    try {
      const start = () => {
        answersBefore = answers
        return attempt(from, signal, isRepeated, isTransaction, work)
      }
      const result = await retry(start, {
        policy: forEver(backoffMsMax),
        isRetryable,
        onRetry: ({ error, attemptNumber }) => {
          // An old connection that broke while nobody used it is no outage.
          if (!isRepeated || attemptNumber < 2 || isAway || answersBefore !== answers) return
          isAway = true
          log.warn('the database is away, waiting for it', { error })
        },
        signal,
      })
      returned()
      return result
    } catch (error) {
      signal.throwIfAborted()
      throw refusal(what, error)
    }
  }

  const on = (from: SqlPool): SqlSessions => ({
    ...{ open: (signal) => persist(from, 'connect to', signal, false, async () => undefined), on },
    run: (what, signal, work) => persist(from, what, signal, false, work),
    transact: (what, signal, work) => persist(from, what, signal, true, work),
  })
  return on(pool)
}

function forEver(backoffMsMax: number): RetryPolicy {
  return {
    attemptsMin: Number.POSITIVE_INFINITY,
    backoffMs: Math.min(backoffMs, backoffMsMax),
    backoffMsMax,
    budgetMs: Number.POSITIVE_INFINITY,
  }
}

function refusal(what: string, error: unknown): AgentError {
  if (error instanceof AgentError) return error
  const { message } = error as Error
  return new AgentError('RECORDS_REFUSED', `${what}: the database said: ${message}`, {}, error)
}

/** Kysely as the builder of statements; connections and transactions are ours. */
function statementsOn(connection: SqlConnection, server: SqlServer): Statements {
  const held: DatabaseConnection = {
    executeQuery: async <R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> => {
      const { rows, affected, insertId } = await connection.run(sql, parameters)
      return {
        rows: rows as R[],
        numAffectedRows: BigInt(affected),
        ...(insertId === null ? {} : { insertId: BigInt(insertId) }),
      }
    },
    streamQuery: () => {
      throw new AgentError('ASSERTION_FAILED', 'rows of Cinder are not streamed')
    },
  }
  const dialect: Dialect = {
    createDriver: () => new OneConnection(held),
    createQueryCompiler: server.compiler,
    createAdapter: server.adapter,
    createIntrospector: () => {
      throw new AgentError('ASSERTION_FAILED', 'the schema is asked by ourselves')
    },
  }
  return new Kysely<Database>({ dialect })
}

class OneConnection extends DummyDriver {
  readonly #connection: DatabaseConnection

  constructor(connection: DatabaseConnection) {
    super()
    this.#connection = connection
  }

  override async acquireConnection(): Promise<DatabaseConnection> {
    return this.#connection
  }
}
