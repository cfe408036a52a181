import type { BackupRecord } from '../domain/backup-record.ts'
import { AgentError, hasCode, reworded, toAgentError } from '../domain/errors.ts'
import type { Ending, Job } from '../domain/job.ts'
import { completed } from '../domain/request-check.ts'
import { statusAfter, statusDuring } from '../domain/status.ts'
import { delay, monotonicMs } from '../lib/clock.ts'
import type { Journal, Outbox } from '../ports/journal.ts'
import type { Log } from '../ports/log.ts'
import type { Publisher } from '../ports/rpc.ts'
import type { Spool } from '../ports/spool.ts'
import type { DeviceWait } from './device-wait.ts'
import { cancelledEnding, doneEnding, failedEnding, finalEvent, type Start } from './job-endings.ts'
import { jobEvent, waitingEvent } from './job-events.ts'
import type { Operations, Run } from './operation.ts'
import { isGone, isGoneBy, removeMade } from './remove-made.ts'
import { type ProgressReport, progressReport } from './report-progress.ts'
import type { Rows } from './rows.ts'
import type { TokenWait } from './token-wait.ts'
import { watchRow } from './watch-row.ts'

export type RunDeps = {
  readonly journal: Journal
  readonly outbox: Pick<Outbox, 'events'>
  readonly publisher: Publisher
  readonly operations: Operations
  /** What the job makes of Cinder's rows, where there are any. */
  readonly rows: Rows
  /** Keeps what operations need to go on after a restart; forgotten when the job has ended. */
  readonly work: Pick<Spool, 'forget'>
  readonly host: string
  readonly log: Log
  /** What the bus and the journal may be told of a failure: a store repeats what it was sent. */
  readonly maskSecrets: (text: string) => string
  /** Told whenever a job gets on, or waits for what a restart would not mend. */
  readonly moved: () => void
}

/** `stop`: the agent ends, the job goes on another time. `cancel`: nobody wants the job any more. */
export type RunSignals = {
  readonly stop: AbortSignal
  readonly cancel: AbortSignal
  readonly device: DeviceWait
  readonly token: TokenWait
}

/** A job that this many starts in a row began, and none moved, is given up (decision D1). */
const startsMax = 3

/** What a job had when its token ended; another start goes on with a new one. */
type Wait = { readonly record: BackupRecord; readonly waitsFor: AgentError }

/** How long a journal that cannot be written is left alone between two tries. */
const journalRetryMs = 1000

/**
 * Runs a job of the journal to its one outcome: record, final events and answers in one transaction.
 * `isLeft`: others may have changed its row since it was accepted. Resolves to false where the agent's
 * stop came first; then the job is in the journal as it was.
 */
export async function runJob(
  waiting: Job,
  isLeft: boolean,
  signals: RunSignals,
  deps: RunDeps,
): Promise<boolean> {
  const { journal, moved } = deps
  const log = deps.log.child(idsOf(waiting))
  moved()
  try {
    const ending = await settled(waiting, isLeft, signals, deps, log)
    const { outcome, kept } = ending
    await whenWritable(
      () => {
        const event = finalEvent(waiting, ending, journal.nextSequence(waiting.id))
        journal.end(waiting.id, outcome, kept, [event])
      },
      { log, signal: signals.stop, moved },
    )
    moved()
    deps.rows.ended(kept)
    void forgetWork(waiting.id, deps.work, log) // Nobody waits: the end is told already.
    return true
  } catch (error) {
    if (!signals.stop.aborted) throw error
    noteStop(waiting.id, journal)
    log.info('left for the next start')
    return false
  }
}

/**
 * How the job ends, once Cinder's rows say so too. What is certain is noted first: where the agent ends
 * between the rows and the journal, the next start has only to write the same again.
 */
async function settled(
  waiting: Job,
  isLeft: boolean,
  signals: RunSignals,
  deps: RunDeps,
  log: Log,
): Promise<Ending> {
  const { journal, rows, moved } = deps
  const { job, ending } = await worked(waiting, isLeft, signals, deps, log)
  if (job.ending === null && rows.isDatabase) {
    const writing = { log, signal: signals.stop, moved }
    await whenWritable(() => journal.update(job.id, { ending }), writing)
  }
  const settledEnding = await rows.settle(job, ending, log, signals.stop)
  const { outcome, record } = settledEnding
  const isInVain = ending.outcome.kind === 'done' && outcome.kind === 'cancelled'
  // A delete that is in hand here comes next, and removes it all.
  if (isInVain && isGoneBy(record.status) && !signals.cancel.aborted) {
    await removeMade({ job, record, log }, deps.operations, signals.stop)
  }
  return settledEnding
}

/** Starts the job, and starts it again with each new token that it waited for, until it is known how it ends. */
async function worked(
  waiting: Job,
  isLeft: boolean,
  signals: RunSignals,
  deps: RunDeps,
  log: Log,
): Promise<{ readonly job: Job; readonly ending: Ending }> {
  const { stop, cancel, token } = signals
  let job = waiting
  while (true) {
    const start = await beginJob(job, isLeft, signals, deps, log)
    const ending = start.job.ending ?? (await workOn(start, signals, deps, log))
    if (!('waitsFor' in ending)) return { job: start.job, ending }
    const writing = { log, signal: stop, moved: deps.moved }
    await whenWritable(() => noteWait(start.job, ending, token.ms, deps.journal), writing)
    log.warn('waiting for a new token', { error: ending.waitsFor, seconds: token.ms / 1000 })
    await token.take(AbortSignal.any([stop, cancel]))
    stop.throwIfAborted()
    job = { ...start.job, record: ending.record }
  }
}

/** A start that ended for want of a token was no crash. */
function noteWait(job: Job, { record, waitsFor }: Wait, waitMs: number, journal: Journal): void {
  const sequence = journal.nextSequence(job.id)
  const event = waitingEvent(job, record, sequence, waitsFor, waitMs / 1000)
  journal.update(job.id, { stoppedInOrder: true, event })
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
  isLeft: boolean,
  { stop }: RunSignals,
  { journal, rows, host, moved }: RunDeps,
  log: Log,
): Promise<Start & { readonly isLeft: boolean }> {
  const { operation } = waiting.request
  const isReset = operation === 'reset_status'
  const isFirst = !waiting.started
  const row = await rows.record(waiting, stop)
  const job = await whenWritable(
    () => {
      const record =
        row ??
        (isReset
          ? recordToReset(waiting, journal, host)
          : { ...waiting.record, host, status: statusDuring(operation), fail_reason: null })
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
  return { job, isFirst, isLeft: isLeft || !isFirst }
}

/** What it waited for has changed the record meanwhile; the reset changes nothing but the status. */
function recordToReset({ request }: Job, journal: Journal, host: string): BackupRecord {
  const { record: asked } = request.backup
  const record = completed(asked, journal.record(asked.id))
  return { ...record, host: record.host ?? host }
}

/** Runs the operation and says how the job ends, or what it waits for. Rejects only where `stop` came first. */
async function workOn(
  start: Start & { readonly isLeft: boolean },
  { stop, cancel, device, token }: RunSignals,
  deps: RunDeps,
  log: Log,
): Promise<Ending | Wait> {
  const { job } = start
  const { operation } = job.request
  const startedMs = monotonicMs()
  const kept = keptRecord(job, deps, log)
  await using watch = watchRow(job, deps.rows, log, cancel)
  await using report = progressReport(job, deps)
  const run = runOf(start, kept, { report, device }, deps, log)
  const signal = AbortSignal.any([stop, watch.cancel])

  try {
    refuseRepeatedCrash(job)
    if (start.isLeft) await refuseUnwanted(job, kept.record(), deps.rows, signal)
    refuseRefused(job)
    signal.throwIfAborted()
    const admitted = await deps.rows.admit(job, kept.record(), log, signal)
    if (admitted !== null) await kept.change(admitted, signal)
    watch.begin()
    const { record: fields, extra } = await deps.operations[operation](run, signal)
    const record = { ...kept.record(), status: statusAfter(operation, 'done'), ...fields }
    log.info(`${operation} ended`, { seconds: Math.round((monotonicMs() - startedMs) / 1000) })
    return doneEnding(record, extra)
  } catch (thrown) {
    if (watch.cancel.aborted || hasCode(thrown, 'OPERATION_CANCELLED')) {
      log.info(`${operation} cancelled`)
      const reason = watch.cancel.aborted ? watch.cancel.reason : thrown
      if (isGone(reason))
        await removeMade({ job, record: kept.record(), log }, deps.operations, stop)
      return cancelledEnding(start, kept.record(), thrown, reason)
    }
    stop.throwIfAborted()
    const error = reworded(toAgentError(thrown), deps.maskSecrets)
    if (error.code === 'TOKEN_EXPIRED' && token.ms > 0 && run.hasMoved()) {
      return { record: kept.record(), waitsFor: error }
    }
    const tell = error.kind === 'rejected' ? log.warn : log.error
    tell(`${operation} failed`, { error })
    return failedEnding(start, kept.record(), error)
  }
}

/** The record of a job, changed in the journal first and then, where there is one, in its row. */
type KeptRecord = Pick<Run, 'record' | 'change'>

function keptRecord(job: Job, { journal, rows, moved }: RunDeps, log: Log): KeptRecord {
  let { record } = job
  return {
    record: () => record,
    async change(fields, signal) {
      const changed = { ...record, ...fields }
      await whenWritable(() => journal.update(job.id, { record: changed }), { log, signal, moved })
      record = changed
      await rows.change(job, fields, signal)
    },
  }
}

function runOf(
  { job, isFirst }: Start,
  kept: KeptRecord,
  { report, device }: { readonly report: ProgressReport; readonly device: DeviceWait },
  { journal, moved }: RunDeps,
  log: Log,
): Run & { readonly hasMoved: () => boolean } {
  let hasMoved = job.highWaterBytes > 0
  return {
    ...{ job, isFirst, log, ...kept, device: device.take },
    async keepDevice(found, signal) {
      const keep = () => {
        if (device.known() !== null) return
        journal.update(job.id, { device: found })
        device.put(found)
      }
      await whenWritable(keep, { log, signal, moved })
      return device.known() ?? found
    },
    hasMoved: () => hasMoved,
    reached(bytesDone) {
      hasMoved ||= bytesDone > 0
      moved()
      noteReached(job.id, bytesDone, journal)
    },
    progress(...done) {
      hasMoved ||= done[0] > 0
      moved()
      report.tell(kept.record(), ...done)
    },
  }
}

/** What the handler could not refuse, for rows wait for an answer. */
function refuseRefused({ request: { refused } }: Job): void {
  if (refused === undefined || refused === null) return
  throw new AgentError(refused.code, refused.message)
}

/** What was left is no request any more that could be refused: a row that has moved on meanwhile cancels it. */
async function refuseUnwanted(
  job: Job,
  { status, deleted }: BackupRecord,
  rows: Rows,
  signal: AbortSignal,
): Promise<void> {
  const { operation } = job.request
  if (operation === 'import' || operation === 'reset_status') return
  // What is deleted already is asked for once more.
  if (operation === 'delete' && (deleted || status === 'deleting')) return
  const reason = await rows.unwanted(job, signal)
  if (reason !== null) throw reason
}

function refuseRepeatedCrash({ starts, request }: Job): void {
  if (starts <= startsMax) return
  throw new AgentError(
    'CRASHED_REPEATEDLY',
    `${request.operation} was begun ${startsMax} times and the agent ended each time before it got further: see the log before each start`,
    { starts },
  )
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
