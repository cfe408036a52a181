import { DatabaseSync, type SQLInputValue } from 'node:sqlite'

import { AgentError } from '../../domain/errors.ts'

const schemaVersion = 2

const schema = `
  CREATE TABLE jobs (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    key TEXT NOT NULL,
    request TEXT NOT NULL,
    context TEXT NOT NULL,
    token BLOB,
    record TEXT NOT NULL,
    run TEXT NOT NULL,
    starts INTEGER NOT NULL DEFAULT 0,
    high_water_bytes INTEGER NOT NULL DEFAULT 0,
    started INTEGER NOT NULL DEFAULT 0,
    next_sequence INTEGER NOT NULL DEFAULT 1,
    outcome TEXT,
    ended_ms INTEGER,
    device BLOB,
    ending TEXT
  ) STRICT;
  CREATE INDEX jobs_by_key ON jobs (key, position);
  CREATE INDEX jobs_unfinished ON jobs (position) WHERE outcome IS NULL;

  CREATE TABLE deliveries (
    id TEXT PRIMARY KEY, seen_ms INTEGER NOT NULL, job_id TEXT
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE callers (
    position INTEGER PRIMARY KEY AUTOINCREMENT, job_id TEXT NOT NULL, reply_to TEXT NOT NULL
  ) STRICT;
  CREATE TABLE records (
    backup_id TEXT PRIMARY KEY, record TEXT NOT NULL, changed_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE events (
    position INTEGER PRIMARY KEY AUTOINCREMENT, notification TEXT NOT NULL
  ) STRICT;
  CREATE TABLE final_events (
    position INTEGER PRIMARY KEY AUTOINCREMENT, job_id TEXT NOT NULL, notification TEXT NOT NULL
  ) STRICT;
  CREATE TABLE replies (
    position INTEGER PRIMARY KEY AUTOINCREMENT, reply_to TEXT NOT NULL, outcome TEXT NOT NULL
  ) STRICT;
`

/** What an older journal lacks, by its version. */
const upgrades: Readonly<Record<number, string>> = {
  1: 'ALTER TABLE jobs ADD COLUMN device BLOB; ALTER TABLE jobs ADD COLUMN ending TEXT;',
}

/** Opens the database, makes or checks its tables. `file` may be ':memory:'. */
export function openDatabase(file: string): DatabaseSync {
  let database: DatabaseSync | null = null
  try {
    database = new DatabaseSync(file)
    // FULL: a commit is on stable storage when it returns. A delivery is acknowledged on its word.
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 0')
    const check = database.prepare('PRAGMA quick_check(1)').get()
    if (check?.['quick_check'] !== 'ok') throw new Error(String(check?.['quick_check']))
    bringUp(database)
    return database
  } catch (error) {
    database?.close()
    throw new AgentError(
      'JOURNAL_UNAVAILABLE',
      `cannot open the journal ${file}: ${(error as Error).message}; if it is damaged, move it aside: requests still in the queue are kept, jobs in hand must be asked for again`,
      { file },
      error,
    )
  }
}

/** Makes the tables, or those of an older agent what ours are. */
function bringUp(database: DatabaseSync): void {
  const version = Number(database.prepare('PRAGMA user_version').get()?.['user_version'])
  if (version === schemaVersion) return
  const change = version === 0 ? schema : upgrades[version]
  if (change === undefined) {
    throw new Error(`it has version ${version}, this agent knows ${schemaVersion}`)
  }
  database.exec(`BEGIN; ${change} PRAGMA user_version = ${schemaVersion}; COMMIT`)
}

/**
 * Takes the one lock of a state folder, by an SQLite file held exclusively: the kernel lets go of it
 * whatever becomes of the process. Throws JOURNAL_LOCKED where another agent has it.
 */
export function lockStateDir(file: string): DatabaseSync {
  let database: DatabaseSync | null = null
  try {
    database = new DatabaseSync(file)
    database.exec('PRAGMA busy_timeout = 0; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE')
    return database
  } catch (error) {
    database?.close()
    const { message } = error as Error
    if (!/locked|busy/i.test(message)) {
      throw new AgentError('JOURNAL_UNAVAILABLE', `cannot lock ${file}: ${message}`, {}, error)
    }
    throw new AgentError(
      'JOURNAL_LOCKED',
      `another agent holds ${file}: stop it first, or give this one its own state_dir and host`,
      {},
      error,
    )
  }
}

export type Row = Record<string, unknown>

export type Statement = {
  /** Returns how many rows it changed. */
  run: (...values: SQLInputValue[]) => number
  get: (...values: SQLInputValue[]) => Row | undefined
  all: (...values: SQLInputValue[]) => Row[]
}

export function prepared(database: DatabaseSync, sql: string): Statement {
  const statement = database.prepare(sql)
  return {
    run: (...values) => Number(statement.run(...values).changes),
    get: (...values) => statement.get(...values),
    all: (...values) => statement.all(...values),
  }
}
