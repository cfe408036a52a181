import { randomUUID } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import type { DatabaseSync, SQLInputValue } from 'node:sqlite'

import type { BackupRecord } from '../../domain/backup-record.ts'
import { AgentError } from '../../domain/errors.ts'
import { type Job, type JobOutcome, type JobRequest, jobKey } from '../../domain/job.ts'
import type { RequestContext } from '../../domain/request-context.ts'
import { wallClockMs } from '../../lib/clock.ts'
import type { Acceptance, Delivery, DeliveryId, Journal, Outbox } from '../../ports/journal.ts'
import type { Notification, ReplyAddress } from '../../ports/rpc.ts'
import { lockStateDir, openDatabase } from './journal-schema.ts'
import { readHostKey, type TokenSeal, tokenSeal } from './token-seal.ts'

export type OpenJournal = Journal & Outbox & Disposable

/** How long ended jobs, deliveries and records are remembered (decision D1). */
const rememberedMs = 7 * 24 * 3600 * 1000

/** Sequence numbers are noted in the journal in steps, so that progress costs no transaction each. */
const sequenceStep = 1000

type Row = Record<string, unknown>

/** The journal of `stateDir`, locked for this process. Throws JOURNAL_LOCKED, JOURNAL_UNAVAILABLE. */
export function openJournal(stateDir: string): OpenJournal {
  try {
    mkdirSync(stateDir, { recursive: true, mode: 0o750 })
  } catch (error) {
    throw new AgentError(
      'JOURNAL_UNAVAILABLE',
      `cannot make the state folder ${stateDir}: ${(error as Error).message}`,
      {},
      error,
    )
  }
  const lock = lockStateDir(path.join(stateDir, 'lock.sqlite'))
  try {
    const seal = tokenSeal(readHostKey(stateDir))
    return journalOn(openDatabase(path.join(stateDir, 'journal.sqlite')), seal, () => lock.close())
  } catch (error) {
    lock.close()
    throw error
  }
}

/** A journal that forgets everything with the process: for tests and simulations. */
export function memoryJournal(): OpenJournal {
  return journalOn(openDatabase(':memory:'), tokenSeal(Buffer.alloc(32, 7)), () => undefined)
}

function journalOn(database: DatabaseSync, seal: TokenSeal, onClose: () => void): OpenJournal {
  const tables = journalTables(database, seal)
  const listeners: (() => void)[] = []
  let isOpen = true

  /** Runs `work`; whatever the database complains of is a journal that cannot be used now. */
  function guarded<T>(work: () => T): T {
    try {
      return work()
    } catch (error) {
      if (error instanceof AgentError) throw error
      const { message } = error as Error
      throw new AgentError(
        'JOURNAL_UNAVAILABLE',
        `cannot use the journal: ${message}; check free space and permissions of state_dir`,
        {},
        error,
      )
    }
  }

  /** Runs `work` as one transaction; what it could not write it did not do. */
  function transaction<T>(work: () => T): T {
    return guarded(() => {
      database.exec('BEGIN IMMEDIATE')
      try {
        const result = work()
        database.exec('COMMIT')
        return result
      } catch (error) {
        if (database.isTransaction) database.exec('ROLLBACK')
        throw error
      }
    })
  }

  function written<T>(result: T): T {
    for (const listener of listeners) listener()
    return result
  }

  return {
    ...journalMethods(tables, { guarded, transaction, written }),
    ...outboxMethods(tables, { guarded, transaction, written }),
    onEntry(listener) {
      listeners.push(listener)
    },
    [Symbol.dispose]() {
      if (!isOpen) return
      isOpen = false
      database.close()
      onClose()
    },
  }
}

type Ways = {
  readonly guarded: <T>(work: () => T) => T
  readonly transaction: <T>(work: () => T) => T
  /** Announces that there may be something to send. */
  readonly written: <T>(result: T) => T
}

function journalMethods(tables: Tables, { guarded, transaction, written }: Ways): Journal {
  const sequences = new Map<string, { next: number; limit: number }>()
  return {
    accept: (delivery) => written(transaction(() => accept(tables, delivery))),
    refuse: (id, event) =>
      written(
        transaction(() => {
          if (tables.isRepeated(id)) return false
          if (event !== null) tables.addEvent(event)
          return true
        }),
      ),
    unfinished: () => guarded(() => tables.unfinished()),
    begin(jobId, event) {
      const job = transaction(() => {
        const begun = tables.begin(jobId)
        if (event !== null) tables.addEvent(event)
        tables.saveRecord(begun.record)
        return begun
      })
      return written(job)
    },
    update: (jobId, change) =>
      transaction(() => {
        if (change.record !== undefined) {
          tables.setJobRecord(jobId, change.record)
          tables.saveRecord(change.record)
        }
        if (change.highWaterBytes !== undefined) tables.raiseHighWater(jobId, change.highWaterBytes)
        if (change.stoppedInOrder) tables.forgetStart(jobId)
      }),
    end(jobId, outcome, record, events) {
      transaction(() => {
        tables.end(jobId, outcome, record)
        tables.saveRecord(record)
        for (const event of events) {
          tables.addEvent(event)
          tables.keepFinalEvent(jobId, event)
        }
        tables.answerCallers(jobId, outcome)
      })
      sequences.delete(jobId)
      written(undefined)
    },
    callers: (jobId) => guarded(() => tables.callers(jobId)),
    record: (backupId) => guarded(() => tables.record(backupId)),
    nextSequence(jobId) {
      let numbers = sequences.get(jobId)
      if (numbers === undefined || numbers.next === numbers.limit) {
        const next = transaction(() => tables.reserveSequence(jobId, sequenceStep))
        numbers = { next, limit: next + sequenceStep }
        sequences.set(jobId, numbers)
      }
      return numbers.next++
    },
    forgetOld: (nowMs) => transaction(() => tables.forgetBefore(nowMs - rememberedMs)),
  }
}

/** Decision D1: what a delivery means, given what was seen and done before. */
function accept(tables: Tables, { id, request, context, replyTo }: Delivery): Acceptance {
  if (tables.isRepeated(id)) return { kind: 'repeated' }
  const last = tables.lastJob(jobKey(request))
  if (last !== null && last.outcome === null) {
    if (replyTo !== null) tables.addCaller(last.job.id, replyTo)
    return { kind: 'joined', job: last.job }
  }
  if (last?.outcome?.kind === 'done' && tables.isStillTrue(last.job, request)) {
    for (const event of tables.finalEvents(last.job.id)) tables.addEvent(event)
    if (replyTo !== null) tables.addReply(replyTo, last.outcome)
    return { kind: 'ended-well', jobId: last.job.id }
  }
  const job = tables.addJob(request, context)
  if (replyTo !== null) tables.addCaller(job.id, replyTo)
  return { kind: 'new', job }
}

function outboxMethods(tables: Tables, { guarded, transaction }: Ways): Omit<Outbox, 'onEntry'> {
  return {
    events: (countMax) => guarded(() => tables.events(countMax)),
    eventSent: (position) => transaction(() => tables.removeEvent(position)),
    replies: () => guarded(() => tables.replies()),
    replySent: (position) => transaction(() => tables.removeReply(position)),
  }
}

type Tables = ReturnType<typeof journalTables>

/** The statements on the tables, each a line; none of them is a transaction of its own. */
function journalTables(database: DatabaseSync, seal: TokenSeal) {
  const statement = (sql: string) => {
    const prepared = database.prepare(sql)
    return {
      run: (...values: SQLInputValue[]) => Number(prepared.run(...values).changes),
      get: (...values: SQLInputValue[]) => prepared.get(...values) as Row | undefined,
      all: (...values: SQLInputValue[]) => prepared.all(...values) as Row[],
    }
  }
  const jobs = jobStatements(statement, seal)
  const messages = messageStatements(statement)
  const addDelivery = statement('INSERT OR IGNORE INTO deliveries VALUES (?, ?)')
  const saveRecord = statement(
    'INSERT INTO records VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET record = excluded.record, changed_ms = excluded.changed_ms',
  )
  const getRecord = statement('SELECT record FROM records WHERE backup_id = ?')
  const forget = [
    statement('DELETE FROM final_events WHERE job_id IN (SELECT id FROM jobs WHERE ended_ms < ?)'),
    statement('DELETE FROM jobs WHERE ended_ms < ?'),
    statement('DELETE FROM deliveries WHERE seen_ms < ?'),
  ]
  const forgetRecords = statement(
    "DELETE FROM records WHERE changed_ms < ? AND json_extract(record, '$.status') = 'deleted'",
  )
  function record(backupId: string): BackupRecord | null {
    const row = getRecord.get(backupId)
    return row === undefined ? null : JSON.parse(String(row['record']))
  }

  return {
    ...jobs,
    ...messages,
    record,
    /** Notes a delivery; true where it is a repetition. */
    isRepeated: ({ key, identifies }: DeliveryId) =>
      addDelivery.run(key, wallClockMs()) === 0 && identifies,
    saveRecord(value: BackupRecord) {
      saveRecord.run(value.id, JSON.stringify(value), wallClockMs())
    },
    /** Whether what an ended job achieved still holds: a restore never does, it may be wanted again. */
    isStillTrue(job: Job, request: JobRequest) {
      if (request.operation === 'restore') return false
      const now = record(job.request.backup.record.id)
      return now?.status === (request.operation === 'create' ? 'available' : 'deleted')
    },
    /** Records of backups that exist are kept for good: chains are found by them. */
    forgetBefore(ms: number) {
      for (const one of forget) one.run(ms)
      forgetRecords.run(ms)
    },
  }
}

type Statement = {
  run: (...values: SQLInputValue[]) => number
  get: (...values: SQLInputValue[]) => Row | undefined
  all: (...values: SQLInputValue[]) => Row[]
}

function jobStatements(statement: (sql: string) => Statement, seal: TokenSeal) {
  const insert = statement(
    'INSERT INTO jobs (id, key, request, context, token, record, run) VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING *',
  )
  const unfinished = statement('SELECT * FROM jobs WHERE outcome IS NULL ORDER BY position')
  const last = statement('SELECT * FROM jobs WHERE key = ? ORDER BY position DESC LIMIT 1')
  const begin = statement(
    'UPDATE jobs SET starts = starts + 1, started = 1 WHERE id = ? AND outcome IS NULL RETURNING *',
  )
  const setRecord = statement('UPDATE jobs SET record = ? WHERE id = ?')
  const raise = statement(
    'UPDATE jobs SET high_water_bytes = ?1, starts = 1 WHERE id = ?2 AND high_water_bytes < ?1',
  )
  const forgetStart = statement('UPDATE jobs SET starts = starts - 1 WHERE id = ? AND starts > 0')
  const end = statement(
    'UPDATE jobs SET outcome = ?, record = ?, ended_ms = ?, token = NULL WHERE id = ? AND outcome IS NULL',
  )
  const reserve = statement(
    'UPDATE jobs SET next_sequence = next_sequence + ? WHERE id = ? RETURNING next_sequence',
  )
  const toJob = (row: Row | undefined): Job => {
    if (row === undefined) throw new AgentError('ASSERTION_FAILED', 'no such unfinished job')
    return jobOf(row, seal)
  }

  return {
    addJob(request: JobRequest, context: RequestContext): Job {
      const { authToken, ...open } = context
      const token = authToken === null ? null : seal.seal(authToken)
      const texts = [JSON.stringify(request), JSON.stringify(open)]
      const { record } = request.backup
      return toJob(
        insert.get(
          randomUUID(),
          jobKey(request),
          ...texts,
          token,
          JSON.stringify(record),
          randomUUID(),
        ),
      )
    },
    unfinished: (): readonly Job[] => unfinished.all().map(toJob),
    lastJob(key: string): { job: Job; outcome: JobOutcome | null } | null {
      const row = last.get(key)
      if (row === undefined) return null
      const outcome = row['outcome']
      return { job: toJob(row), outcome: outcome === null ? null : JSON.parse(String(outcome)) }
    },
    begin: (jobId: string): Job => toJob(begin.get(jobId)),
    setJobRecord: (jobId: string, record: BackupRecord) =>
      setRecord.run(JSON.stringify(record), jobId),
    raiseHighWater: (jobId: string, bytes: number) => raise.run(bytes, jobId),
    forgetStart: (jobId: string) => forgetStart.run(jobId),
    end(jobId: string, outcome: JobOutcome, record: BackupRecord) {
      const texts = [JSON.stringify(outcome), JSON.stringify(record)]
      if (end.run(...texts, wallClockMs(), jobId) === 1) return
      throw new AgentError('ASSERTION_FAILED', 'a job must end exactly once', { jobId })
    },
    /** The first of `count` numbers that nobody else gets. */
    reserveSequence(jobId: string, count: number): number {
      const row = reserve.get(count, jobId)
      if (row === undefined) throw new AgentError('ASSERTION_FAILED', 'no such job', { jobId })
      return Number(row['next_sequence']) - count
    },
  }
}

function jobOf(row: Row, seal: TokenSeal): Job {
  const token = row['token']
  const authToken = token instanceof Uint8Array ? seal.open(token) : null
  return {
    id: String(row['id']),
    request: JSON.parse(String(row['request'])),
    context: { ...JSON.parse(String(row['context'])), authToken },
    record: JSON.parse(String(row['record'])),
    run: String(row['run']),
    starts: Number(row['starts']),
    highWaterBytes: Number(row['high_water_bytes']),
    started: row['started'] === 1,
  }
}

function messageStatements(statement: (sql: string) => Statement) {
  const addEvent = statement('INSERT INTO events (notification) VALUES (?)')
  const events = statement('SELECT * FROM events ORDER BY position LIMIT ?')
  const removeEvent = statement('DELETE FROM events WHERE position = ?')
  const keepFinal = statement('INSERT INTO final_events (job_id, notification) VALUES (?, ?)')
  const finals = statement(
    'SELECT notification FROM final_events WHERE job_id = ? ORDER BY position',
  )
  const addCaller = statement('INSERT INTO callers (job_id, reply_to) VALUES (?, ?)')
  const toReplies = statement(
    'INSERT INTO replies (reply_to, outcome) SELECT reply_to, ? FROM callers WHERE job_id = ? ORDER BY position',
  )
  const callers = statement('SELECT reply_to FROM callers WHERE job_id = ? ORDER BY position')
  const removeCallers = statement('DELETE FROM callers WHERE job_id = ?')
  const addReply = statement('INSERT INTO replies (reply_to, outcome) VALUES (?, ?)')
  const replies = statement('SELECT * FROM replies ORDER BY position')
  const removeReply = statement('DELETE FROM replies WHERE position = ?')

  return {
    addEvent: (event: Notification) => addEvent.run(JSON.stringify(event)),
    events: (countMax: number) =>
      events.all(countMax).map((row) => ({
        position: Number(row['position']),
        notification: JSON.parse(String(row['notification'])) as Notification,
      })),
    removeEvent: (position: number) => void removeEvent.run(position),
    keepFinalEvent: (jobId: string, event: Notification) =>
      keepFinal.run(jobId, JSON.stringify(event)),
    finalEvents: (jobId: string) =>
      finals.all(jobId).map((row) => JSON.parse(String(row['notification'])) as Notification),
    addCaller: (jobId: string, replyTo: ReplyAddress) =>
      addCaller.run(jobId, JSON.stringify(replyTo)),
    callers: (jobId: string) =>
      callers.all(jobId).map((row) => JSON.parse(String(row['reply_to'])) as ReplyAddress),
    answerCallers(jobId: string, outcome: JobOutcome) {
      toReplies.run(JSON.stringify(outcome), jobId)
      removeCallers.run(jobId)
    },
    addReply: (replyTo: ReplyAddress, outcome: JobOutcome) =>
      addReply.run(JSON.stringify(replyTo), JSON.stringify(outcome)),
    replies: () =>
      replies.all().map((row) => ({
        position: Number(row['position']),
        replyTo: JSON.parse(String(row['reply_to'])) as ReplyAddress,
        outcome: JSON.parse(String(row['outcome'])) as JobOutcome,
      })),
    removeReply: (position: number) => void removeReply.run(position),
  }
}
