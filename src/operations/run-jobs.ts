import { AgentError } from '../domain/errors.ts'
import type { Job } from '../domain/job.ts'
import { aborted } from '../lib/aborted.ts'
import { delay } from '../lib/clock.ts'
import type { Log } from '../ports/log.ts'
import { type InHand, type JobQueue, jobQueue } from './job-queue.ts'
import { type RunDeps, runJob } from './run-job.ts'

export type JobRunner = {
  /** Takes a job of the journal in hand: new, or left by an earlier life of the agent. */
  take(job: Job): void

  /** A caller that waits for the end of a job: heartbeats for those that asked. */
  watch(jobId: string): void

  /** The job may have a newer token: where it waits for one, it goes on. */
  renew(jobId: string): void

  /** The jobs in hand for a backup, the waiting ones too. */
  inHand(backupId: string): readonly Job[]

  /** The creates and restores in hand that read a backup as an ancestor, as far as is known. */
  buildingOn(backupId: string): readonly Job[]

  /** How many jobs are in hand, running or not. */
  readonly count: number

  /** Runs jobs until `signal` aborts; resolves when none runs any more. Those left go on next time. */
  run(signal: AbortSignal): Promise<void>
}

export type RunnerDeps = RunDeps & {
  readonly jobsMax: number
  /** How long a job that has got on waits for a new token where its own has ended; 0: it fails at once. */
  readonly authWaitMs: number
  /** Called when a job came or went, with how many there are that do not wait for a token. */
  readonly onCount: (count: number) => void
}

type Entry = InHand & {
  job: Job
  /** Aborted by the news of a token; another one takes its place then. */
  renewal: AbortController
  /** False when it has waited in vain. */
  mayWait: boolean
  readonly ended: AbortController
  readonly watched: Set<string> // Callers that get heartbeats.
}

/**
 * Runs the jobs of the journal: at most `jobsMax` at once, those of one backup one after the other,
 * in the order of their acceptance. A delete or a reset of the status cancels what else is in hand for
 * its backup, and takes its place before others that wait.
 */
export function jobRunner(deps: RunnerDeps): JobRunner {
  const { journal, publisher, jobsMax, log } = deps
  const queue = jobQueue<Entry>()
  const running = new Set<Promise<void>>()
  const resting = new Set<Entry>()
  let stopping: AbortSignal | null = null

  function startWhatCan(): void {
    while (stopping !== null && !stopping.aborted) {
      const entry = queue.start(running.size < jobsMax)
      if (entry === null) return
      const done = runToItsEnd(entry, stopping).finally(() => {
        running.delete(done)
        startWhatCan()
      })
      running.add(done)
    }
  }

  async function runToItsEnd(entry: Entry, stop: AbortSignal): Promise<void> {
    try {
      const authWaitMs = entry.mayWait ? deps.authWaitMs : 0
      const signals = { stop, cancel: entry.cancel.signal }
      const end = await runJob(entry.job, signals, deps, authWaitMs)
      if (end.kind === 'waiting') void restAndGoOn(entry, end.job, stop)
      if (end.kind !== 'ended') return
    } catch (error) {
      log.error('a job was left by a defect; it goes on at the next start', { error })
    }
    queue.remove(entry)
    entry.ended.abort()
    tellCount()
  }

  const tellCount = () => deps.onCount(queue.size - resting.size)

  /** Leaves its place to others until there is a token, it is cancelled, or it has waited long enough. */
  async function restAndGoOn(entry: Entry, job: Job, stop: AbortSignal): Promise<void> {
    resting.add(entry)
    tellCount()
    await rest(entry, job, deps.authWaitMs, stop)
    resting.delete(entry)
    if (stop.aborted) return
    queue.again(entry)
    tellCount()
    startWhatCan()
  }

  function watch(jobId: string): void {
    const entry = queue.get(jobId)
    if (entry === undefined) return
    for (const caller of journal.callers(jobId)) {
      const key = JSON.stringify(caller)
      if (entry.watched.has(key)) continue
      entry.watched.add(key)
      publisher.monitor(caller, entry.ended.signal).catch(() => undefined)
    }
  }

  return {
    take(job) {
      const entry = entryOf(job)
      queue.add(entry)
      if (cancels(entry)) cancelOthers(entry, queue, log)
      if (job.request.operation === 'reset_status') queue.prefer(entry)
      watch(job.id)
      tellCount()
      startWhatCan()
    },
    watch,
    renew: (jobId) => queue.get(jobId)?.renewal.abort(),
    inHand: (backupId) => queue.ofBackup(backupId).map(({ job }) => job),
    buildingOn: (backupId) => queue.buildingOn(backupId).map(({ job }) => job),
    get count() {
      return queue.size
    },
    async run(signal) {
      stopping = signal
      startWhatCan()
      await aborted(signal)
      while (running.size > 0) await Promise.allSettled([...running])
      for (const { ended } of queue.all()) ended.abort()
    },
  }
}

function entryOf(job: Job): Entry {
  const [cancel, ended] = [new AbortController(), new AbortController()]
  const waits = { renewal: new AbortController(), mayWait: true }
  return { job, cancel, ended, ...waits, watched: new Set() }
}

/** Resolves when there may be a new token, nobody wants the job any more, or it has waited long enough. */
async function rest(entry: Entry, job: Job, waitMs: number, stop: AbortSignal): Promise<void> {
  const { renewal, cancel } = entry
  const woken = AbortSignal.any([stop, renewal.signal, cancel.signal])
  await delay(waitMs, woken).catch(() => undefined)
  entry.job = job
  entry.mayWait = renewal.signal.aborted
  entry.renewal = new AbortController()
}

/** Decision D29: a delete and a reset of the status cancel what else is in hand for a backup. */
function cancels({ job }: Entry): boolean {
  const { operation } = job.request
  return operation === 'delete' || operation === 'reset_status'
}

function cancelOthers(canceller: Entry, queue: JobQueue<Entry>, log: Log): void {
  const { backup, operation: by } = canceller.job.request
  const { id } = backup.record
  for (const entry of queue.ofBackup(id)) {
    const { operation } = entry.job.request
    if (cancels(entry)) continue
    log.info('cancelling', { backup_id: id, operation, by })
    const what = by === 'delete' ? 'a delete' : 'a reset of its status'
    const reason = `${operation} of backup ${id} cancelled by ${what}`
    entry.cancel.abort(new AgentError('OPERATION_CANCELLED', reason))
    queue.prefer(entry)
    queue.prefer(canceller)
  }
}
