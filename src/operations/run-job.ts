import type { BackupRecord } from '../domain/backup-record.ts'
import { AgentError, failReason, hasCode, reworded, toAgentError } from '../domain/errors.ts'
import type { Job, JobOutcome } from '../domain/job.ts'
import type { Json, JsonObject } from '../domain/json.ts'
import { completed } from '../domain/request-check.ts'
import { statusAfter, statusDuring } from '../domain/status.ts'
import { delay, monotonicMs } from '../lib/clock.ts'
import type { Journal, Outbox } from '../ports/journal.ts'
import type { Log } from '../ports/log.ts'
import type { Notification, Publisher } from '../ports/rpc.ts'
import type { Spool } from '../ports/spool.ts'
import { errorEvent, jobEvent, waitingEvent } from './job-events.ts'
import type { Operations, Run } from './operation.ts'
import { progressReport } from './report-progress.ts'

export type RunDeps = {
  readonly journal: Journal
  readonly outbox: Pick<Outbox, 'events'>
  readonly publisher: Publisher
  readonly operations: Operations
  /** Keeps what operations need to go on after a restart; forgotten when the job has ended. */
  readonly work: Pick<Spool, 'forget'>
  readonly host: string
  readonly log: Log
  /** What the bus and the journal may be told of a failure: a store repeats what it was sent. */
  readonly maskSecrets: (text: string) => string
  /** Told whenever a job gets on, or waits for what a restart would not mend. */
  readonly moved: () => void
}

/**
 * What became of a start of a job. `left`: the agent's stop came first, and the job is in the journal as
 * it was. `waiting`: it got on until its token was taken no more, and another start may go on with a new one.
 */
export type RunEnd =
  | { readonly kind: 'ended' }
  | { readonly kind: 'left' }
  | { readonly kind: 'waiting'; readonly job: Job }

/** `stop`: the agent ends, the job goes on another time. `cancel`: nobody wants the job any more. */
export type RunSignals = { readonly stop: AbortSignal; readonly cancel: AbortSignal }

/** A job that this many starts in a row began, and none moved, is given up (decision D1). */
const startsMax = 3

/** How long a journal that cannot be written is left alone between two tries. */
const journalRetryMs = 1000

/** A start of a job; what an earlier one left on the target of a restore is not known. */
type Start = { readonly job: Job; readonly isFirst: boolean }

/** What a job waits for a new token with. */
type Wait = { readonly record: BackupRecord; readonly error: AgentError }

/** How a job ends, its final event under the number that is given. */
type End = (sequence: number) => {
  readonly outcome: JobOutcome
  readonly record: BackupRecord
  readonly event: Notification
}

/**
 * Runs a job of the journal to its one outcome: record, final events and answers in one transaction.
 * Where `authWaitMs` is not 0, a job that has got on waits for a new token, and says so for how long.
 */
export async function runJob(
  waiting: Job,
  signals: RunSignals,
  deps: RunDeps,
  authWaitMs: number,
): Promise<RunEnd> {
  const { journal, moved } = deps
  const log = deps.log.child(idsOf(waiting))
  moved()
  try {
    const start = await beginJob(waiting, signals, deps, log)
    const end = await workOn(start, signals, deps, log, authWaitMs > 0)
    const writing = { log, signal: signals.stop, moved }
    if (typeof end !== 'function') {
      await whenWritable(() => noteWait(start.job, end, authWaitMs, journal), writing)
      log.warn('waiting for a new token', { error: end.error, seconds: authWaitMs / 1000 })
      return { kind: 'waiting', job: { ...start.job, record: end.record } }
    }
    await whenWritable(() => {
      const { outcome, record, event } = end(journal.nextSequence(waiting.id))
      journal.end(waiting.id, outcome, record, [event])
    }, writing)
    moved()
    void forgetWork(waiting.id, deps.work, log) // Nobody waits: the end is told already.
    return { kind: 'ended' }
  } catch (error) {
    if (!signals.stop.aborted) throw error
    noteStop(waiting.id, journal)
    log.info('left for the next start')
    return { kind: 'left' }
  }
}

/** What is left is removed at the next start at the latest. */
async function forgetWork(jobId: string, work: RunDeps['work'], log: Log): Promise<void> {
  try {
    await work.forget(jobId)
  } catch (error) {
    log.warn('what was kept of the job cannot be removed', { error })
  }
}

/** A stop in order is no crash: the start does not count. Where it cannot be noted, it does. */
function noteStop(jobId: string, journal: Journal): void {
  try {
    journal.update(jobId, { stoppedInOrder: true })
  } catch {
    return
  }
}

/** A start that ended for want of a token was no crash either. */
function noteWait(job: Job, { record, error }: Wait, waitMs: number, journal: Journal): void {
  const sequence = journal.nextSequence(job.id)
  const event = waitingEvent(job, record, sequence, error, waitMs / 1000)
  journal.update(job.id, { stoppedInOrder: true, event })
}

/** Where it cannot be noted now, a progress message notes it later. */
function noteReached(jobId: string, highWaterBytes: number, journal: Journal): void {
  try {
    journal.update(jobId, { highWaterBytes })
  } catch {
    return
  }
}

async function beginJob(
  waiting: Job,
  { stop }: RunSignals,
  { journal, host, moved }: RunDeps,
  log: Log,
): Promise<Start> {
  const { operation } = waiting.request
  const isReset = operation === 'reset_status'
  const isFirst = !waiting.started
  const job = await whenWritable(
    () => {
      const record = isReset
        ? recordToReset(waiting, journal, host)
        : { ...waiting.record, host, status: statusDuring(operation), fail_reason: null }
      journal.update(waiting.id, { record })
      // Whoever asks for a reset tells of its start. Source: cinder/backup/api.py, `reset_status`.
      const event =
        isFirst && !isReset
          ? jobEvent(waiting, 'start', record, journal.nextSequence(waiting.id))
          : null
      return journal.begin(waiting.id, event)
    },
    { log, signal: stop, moved },
  )
  log.info(`${operation} started`, { run: job.run, starts: job.starts })
  return { job, isFirst }
}

/** What it waited for has changed the record meanwhile; the reset changes nothing but the status. */
function recordToReset({ request }: Job, journal: Journal, host: string): BackupRecord {
  const { record: asked } = request.backup
  const record = completed(asked, journal.record(asked.id))
  return { ...record, host: record.host ?? host }
}

/** Runs the operation and says how the job ends, or what it waits with. Rejects only where `stop` came first. */
async function workOn(
  start: Start,
  signals: RunSignals,
  deps: RunDeps,
  log: Log,
  mayWait: boolean,
): Promise<End | Wait> {
  const { journal, operations, moved } = deps
  const { job } = start
  const { operation } = job.request
  const { stop, cancel } = signals
  const signal = AbortSignal.any([stop, cancel])
  const startedMs = monotonicMs()
  let record = job.record
  let hasMoved = job.highWaterBytes > 0

  try {
    await using report = progressReport(job, deps)
    const run: Run = {
      job,
      log,
      record: () => record,
      async change(fields, changeSignal) {
        const changed = { ...record, ...fields }
        await whenWritable(() => journal.update(job.id, { record: changed }), {
          log,
          signal: changeSignal,
          moved,
        })
        record = changed
      },
      reached(bytesDone) {
        hasMoved ||= bytesDone > 0
        moved()
        noteReached(job.id, bytesDone, journal)
      },
      progress(...done) {
        hasMoved ||= done[0] > 0
        moved()
        report.tell(record, ...done)
      },
    }
    refuseRepeatedCrash(job)
    signal.throwIfAborted()
    const { record: fields, extra } = await operations[operation](run, signal)
    record = { ...record, status: statusAfter(operation, 'done'), ...fields }
    log.info(`${operation} ended`, { seconds: Math.round((monotonicMs() - startedMs) / 1000) })
    return doneEnd(job, record, extra)
  } catch (thrown) {
    if (cancel.aborted) return cancelledEnd(start, record, thrown, cancel.reason, log)
    stop.throwIfAborted()
    const error = reworded(toAgentError(thrown), deps.maskSecrets)
    if (mayWait && hasMoved && error.code === 'TOKEN_EXPIRED') return { record, error }
    return failedEnd(start, record, error, log)
  }
}

function refuseRepeatedCrash({ starts, request }: Job): void {
  if (starts <= startsMax) return
  throw new AgentError(
    'CRASHED_REPEATEDLY',
    `${request.operation} was begun ${startsMax} times and the agent ended each time before it got further: see the log before each start`,
    { starts },
  )
}

function doneEnd(job: Job, record: BackupRecord, extra: JsonObject | undefined): End {
  return (sequence) => ({
    outcome: { kind: 'done' },
    record,
    event: jobEvent(job, 'end', record, sequence, extra),
  })
}

/** Decision D29: a cancelled create ends as in Cinder, a cancelled restore says what it left. */
function cancelledEnd(
  start: Start,
  before: BackupRecord,
  thrown: unknown,
  reason: unknown,
  log: Log,
): End {
  const { job } = start
  const { operation } = job.request
  const record = { ...before, status: statusAfter(operation, 'cancelled') ?? before.status }
  log.info(`${operation} cancelled`)
  return (sequence) => ({
    outcome: { kind: 'cancelled' },
    record: keptOf(job, record),
    event:
      operation === 'restore'
        ? errorEvent(job, record, sequence, toAgentError(reason), restoreRemains(thrown, start))
        : jobEvent(job, 'end', record, sequence),
  })
}

function failedEnd(start: Start, before: BackupRecord, error: AgentError, log: Log): End {
  const { job } = start
  const { operation, was } = job.request
  const isRestore = operation === 'restore'
  // A failed restore says nothing against the backup. Source: cinder/backup/manager.py.
  const fail_reason =
    isRestore || operation === 'reset_status' ? before.fail_reason : failReason(error)
  const status = statusAfter(operation, 'failed') ?? before.status
  const isNowhere = isRestore && error.code === 'BACKUP_NOT_FOUND'
  const record =
    isRestore && hasFailed(was)
      ? { ...before, status: was.status, fail_reason: was.fail_reason }
      : { ...before, status, fail_reason }
  const extra = isRestore ? restoreRemains(error, start) : {}
  const tell = error.kind === 'rejected' ? log.warn : log.error
  tell(`${operation} failed`, { error })
  const { code, message } = error
  return (sequence) => ({
    outcome: { kind: 'failed', code, message },
    // What was never here and is nowhere is not kept as if it were: its create may be on its way.
    record: keptOf(job, isNowhere && was === null ? { ...record, status: 'error' } : record),
    event: errorEvent(job, record, sequence, error, extra),
  })
}

/** Whether a backup was made, or deleted, in vain: a restore that fails makes it no better. */
function hasFailed(was: BackupRecord | null | undefined): was is BackupRecord {
  return was?.status === 'error' && was.fail_reason !== null
}

/** What the journal keeps of a backup: an import that failed is no word against one that was there. */
function keptOf({ request: { operation, was } }: Job, record: BackupRecord): BackupRecord {
  return operation === 'import' ? (was ?? record) : record
}

/** What a restore that did not end well has made of its target, as far as it is known. */
function restoreRemains(thrown: unknown, { isFirst }: Start): JsonObject {
  const context = thrown instanceof AgentError ? thrown.context : {}
  const extents = context['restoredExtents'] as Json | undefined
  if (extents === undefined && isFirst) return { target: 'untouched' }
  return {
    target: 'unusable',
    restored_extents: extents ?? [],
    restored_bytes_not_listed: (context['restoredBytesNotListed'] as Json | undefined) ?? 0,
  }
}

/** Runs `write` until the journal takes it. Rejects with the signal's reason. */
async function whenWritable<T>(
  write: () => T,
  { log, signal, moved }: { log: Log; signal: AbortSignal; moved: () => void },
): Promise<T> {
  let wasTold = false
  while (true) {
    try {
      return write()
    } catch (error) {
      if (!hasCode(error, 'JOURNAL_UNAVAILABLE')) throw error
      if (!wasTold) log.error('waiting for the journal', { error })
      wasTold = true
      moved()
    }
    await delay(journalRetryMs, signal)
  }
}

function idsOf({ request, context }: Job) {
  const { record } = request.backup
  return {
    request_id: context.requestId,
    global_request_id: context.globalRequestId,
    user_id: context.userId,
    project_id: record.project_id ?? context.projectId,
    backup_id: record.id,
    volume_id: request.targetVolumeId ?? record.volume_id,
  }
}
