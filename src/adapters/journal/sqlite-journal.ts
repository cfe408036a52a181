import { randomUUID } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import type { DatabaseSync } from 'node:sqlite'

import type { BackupRecord } from '../../domain/backup-record.ts'
import { AgentError } from '../../domain/errors.ts'
import {
  type BackupDevice,
  type Ending,
  type Job,
  type JobOutcome,
  type JobRequest,
  jobKey,
} from '../../domain/job.ts'
import type { RequestContext } from '../../domain/request-context.ts'
import { wallClockMs } from '../../lib/clock.ts'
import type { Acceptance, Delivery, DeliveryId, Journal, Outbox } from '../../ports/journal.ts'
import { messageStatements } from './journal-messages.ts'
import { lockStateDir, openDatabase, prepared, type Row, type Statement } from './journal-schema.ts'
import { openContext, sealedContext } from './sealed-context.ts'
import { readHostKey, type TokenSeal, tokenSeal } from './token-seal.ts'

export type OpenJournal = Journal & Outbox & Disposable

/** How long ended jobs, deliveries and records are remembered (decision D1). */
const rememberedMs = 7 * 24 * 3600 * 1000

/** Sequence numbers are noted in the journal in steps, so that progress costs no transaction each. */
const sequenceStep = 1000

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
    const database = openDatabase(path.join(stateDir, 'journal.sqlite'))
    return journalOn(database, seal, () => {
      database.close()
      lock.close()
    })
  } catch (error) {
    lock.close()
    throw error
  }
}

/** A journal that forgets everything with the process: for tests and simulations. */
export function memoryJournal(): OpenJournal {
  return memoryJournals()()
}

/**
 * Opens journals in memory on one database: each finds what those before it left, as after a crash.
 * Nothing is locked, and closing keeps the database.
 */
export function memoryJournals(): () => OpenJournal {
  const database = openDatabase(':memory:')
  return () => journalOn(database, tokenSeal(Buffer.alloc(32, 7)), () => undefined)
}

/** `onClose` closes the database where it is to be closed. */
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
          const seen = tables.delivery(id)
          if (seen !== null) return seen.jobId === null
          tables.addDelivery(id, null)
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
    update(jobId, change) {
      transaction(() => {
        if (change.record !== undefined) {
          tables.setJobRecord(jobId, change.record)
          tables.saveRecord(change.record)
        }
        if (change.highWaterBytes !== undefined) tables.raiseHighWater(jobId, change.highWaterBytes)
        if (change.stoppedInOrder) tables.forgetStart(jobId)
        if (change.device !== undefined) tables.setDevice(jobId, change.device)
        if (change.ending !== undefined) tables.setEnding(jobId, change.ending)
        if (change.event !== undefined) tables.addEvent(change.event)
      })
      if (change.event !== undefined) written(undefined)
    },
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
    leftovers: () => guarded(() => tables.leftovers()),
    cleared: (backupId) => transaction(() => tables.clear(backupId)),
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
function accept(tables: Tables, delivery: Delivery): Acceptance {
  const seen = tables.delivery(delivery.id)
  if (seen !== null) return { kind: 'repeated', jobId: seen.jobId }
  const acceptance = acceptUnseen(tables, delivery)
  if (acceptance.kind === 'exists') return acceptance
  const jobId = acceptance.kind === 'ended-well' ? acceptance.jobId : acceptance.job.id
  tables.addDelivery(delivery.id, jobId)
  return acceptance
}

function acceptUnseen(tables: Tables, { request, context, replyTo, isAnew }: Delivery) {
  const last = tables.lastJob(jobKey(request))
  if (last !== null && last.outcome === null) {
    if (replyTo !== null) tables.addCaller(last.job.id, replyTo)
    return { kind: 'joined', job: tables.refreshToken(last.job, context) } as const
  }
  const isStillTrue = isAnew !== true && tables.isStillTrue(request)
  if (last?.outcome?.kind === 'done' && isStillTrue) {
    for (const event of tables.finalEvents(last.job.id)) tables.addEvent(event)
    if (replyTo !== null) tables.addReply(replyTo, last.outcome)
    return { kind: 'ended-well', jobId: last.job.id } as const
  }
  if (last === null && request.operation === 'create' && isStillTrue) {
    return { kind: 'exists' } as const
  }
  const job = tables.addJob(request, context)
  if (replyTo !== null) tables.addCaller(job.id, replyTo)
  return { kind: 'new', job } as const
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
  const statement = (sql: string) => prepared(database, sql)
  const jobs = jobStatements(statement, seal)
  const messages = messageStatements(statement)
  const addDelivery = statement('INSERT OR REPLACE INTO deliveries VALUES (?, ?, ?)')
  const getDelivery = statement('SELECT job_id FROM deliveries WHERE id = ?')
  const saveRecord = statement(
    'INSERT INTO records VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET record = excluded.record, changed_ms = excluded.changed_ms',
  )
  const getRecord = statement('SELECT record FROM records WHERE backup_id = ?')
  const leftovers = statement(
    "SELECT record FROM records WHERE coalesce(record ->> '$.temp_volume_id', record ->> '$.temp_snapshot_id') IS NOT NULL",
  )
  const clear = statement(
    "UPDATE records SET record = json_set(record, '$.temp_volume_id', NULL, '$.temp_snapshot_id', NULL) WHERE backup_id = ?",
  )
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
    /** What became of a delivery; null where it was not seen, or cannot be known again. */
    delivery({ key, identifies }: DeliveryId): { readonly jobId: string | null } | null {
      const row = identifies ? getDelivery.get(key) : undefined
      const jobId = row?.['job_id']
      return row === undefined ? null : { jobId: typeof jobId === 'string' ? jobId : null }
    },
    addDelivery({ key }: DeliveryId, jobId: string | null) {
      addDelivery.run(key, wallClockMs(), jobId)
    },
    leftovers: () =>
      leftovers.all().map((row) => JSON.parse(String(row['record'])) as BackupRecord),
    clear: (backupId: string) => void clear.run(backupId),
    saveRecord(value: BackupRecord) {
      saveRecord.run(value.id, JSON.stringify(value), wallClockMs())
    },
    /** Whether what is asked for is so; what is neither made nor deleted may be wanted again. */
    isStillTrue({ operation, backup }: JobRequest) {
      if (operation !== 'create' && operation !== 'delete') return false
      const now = record(backup.record.id)
      return now?.status === (operation === 'create' ? 'available' : 'deleted')
    },
    /** Records of backups that exist are kept for good: chains are found by them. */
    forgetBefore(ms: number) {
      for (const one of forget) one.run(ms)
      forgetRecords.run(ms)
    },
  }
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
    'UPDATE jobs SET high_water_bytes = ?1, starts = 0 WHERE id = ?2 AND high_water_bytes < ?1',
  )
  const setToken = statement('UPDATE jobs SET context = ?, token = ? WHERE id = ? RETURNING *')
  const setDevice = statement('UPDATE jobs SET device = ? WHERE id = ? AND outcome IS NULL')
  const setEnding = statement('UPDATE jobs SET ending = ? WHERE id = ? AND outcome IS NULL')
  const forgetStart = statement('UPDATE jobs SET starts = starts - 1 WHERE id = ? AND starts > 0')
  const end = statement(
    'UPDATE jobs SET outcome = ?, record = ?, ended_ms = ?, token = NULL, device = NULL, ending = NULL WHERE id = ? AND outcome IS NULL',
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
      const { record } = request.backup
      const [open, token] = sealedContext(context, seal)
      const texts = [JSON.stringify(request), open, token, JSON.stringify(record)]
      return toJob(insert.get(randomUUID(), jobKey(request), ...texts, randomUUID()))
    },
    /** A newer token of the same project lives longer, and is used from the job's next start on. */
    refreshToken(job: Job, { projectId, authToken, serviceCatalog }: RequestContext): Job {
      const { context } = job
      if (authToken === null || projectId !== context.projectId) return job
      const [open, token] = sealedContext({ ...context, authToken, serviceCatalog }, seal)
      return toJob(setToken.get(open, token, job.id))
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
    /** Sealed: the object of a volume may hold the secret of its target. */
    setDevice: (jobId: string, device: BackupDevice) =>
      setDevice.run(seal.seal(JSON.stringify(device)), jobId),
    setEnding: (jobId: string, ending: Ending) => setEnding.run(JSON.stringify(ending), jobId),
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
  return {
    id: String(row['id']),
    request: JSON.parse(String(row['request'])),
    context: openContext(row, seal),
    record: JSON.parse(String(row['record'])),
    run: String(row['run']),
    starts: Number(row['starts']),
    highWaterBytes: Number(row['high_water_bytes']),
    started: row['started'] === 1,
    device: openDevice(row['device'], seal),
    ending: row['ending'] === null ? null : JSON.parse(String(row['ending'])),
  }
}

/** Null also where the key it was sealed with is lost: then it is asked for again. */
function openDevice(sealed: unknown, seal: TokenSeal): BackupDevice | null {
  const text = sealed instanceof Uint8Array ? seal.open(sealed) : null
  return text === null ? null : JSON.parse(text)
}
