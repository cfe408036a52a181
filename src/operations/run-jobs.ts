import { AgentError } from '../domain/errors.ts'
import type { Job } from '../domain/job.ts'
import { aborted } from '../lib/aborted.ts'
import type { Log } from '../ports/log.ts'
import { type RunDeps, runJob } from './run-job.ts'

export type JobRunner = {
  /** Takes a job of the journal in hand: new, or left by an earlier life of the agent. */
  take(job: Job): void

  /** A caller that waits for the end of a job: heartbeats for those that asked. */
  watch(jobId: string): void

  /** The jobs in hand for a backup, the waiting ones too. */
  inHand(backupId: string): readonly Job[]

  /** How many jobs are in hand, running or not. */
  readonly count: number

  /** Runs jobs until `signal` aborts; resolves when none runs any more. Those left go on next time. */
  run(signal: AbortSignal): Promise<void>
}

export type RunnerDeps = RunDeps & {
  readonly jobsMax: number
  /** Called when a job came or went. */
  readonly onCount: (count: number) => void
}

type Entry = {
  readonly job: Job
  readonly cancel: AbortController
  readonly ended: AbortController
  readonly watched: Set<string> // Callers that get heartbeats.
  state: 'waiting' | 'running'
}

/**
 * Runs the jobs of the journal: at most `jobsMax` at once, those of one backup one after the other,
 * in the order of their acceptance. A delete cancels what else is in hand for its backup.
 */
export function jobRunner(deps: RunnerDeps): JobRunner {
  const { journal, publisher, jobsMax, log } = deps
  const entries = new Map<string, Entry>()
  const running = new Set<Promise<void>>()
  let stopping: AbortSignal | null = null

  function startWhatCan(): void {
    if (stopping === null || stopping.aborted) return
    for (const entry of entries.values()) {
      if (!isNext(entry, entries.values())) continue
      if (running.size >= jobsMax && !entry.cancel.signal.aborted) continue
      entry.state = 'running'
      const done = runToItsEnd(entry, stopping).finally(() => {
        running.delete(done)
        startWhatCan()
      })
      running.add(done)
    }
  }

  async function runToItsEnd(entry: Entry, stop: AbortSignal): Promise<void> {
    try {
      const hasEnded = await runJob(entry.job, { stop, cancel: entry.cancel.signal }, deps)
      if (!hasEnded) return
    } catch (error) {
      log.error('a job was left by a defect; it goes on at the next start', { error })
    }
    entries.delete(entry.job.id)
    entry.ended.abort()
    deps.onCount(entries.size)
  }

  function watch(jobId: string): void {
    const entry = entries.get(jobId)
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
      const [cancel, ended] = [new AbortController(), new AbortController()]
      entries.set(job.id, { job, cancel, ended, state: 'waiting', watched: new Set() })
      if (job.request.operation === 'delete') cancelOthers(job, entries.values(), log)
      watch(job.id)
      deps.onCount(entries.size)
      startWhatCan()
    },
    watch,
    inHand: (backupId) =>
      [...entries.values()].map(({ job }) => job).filter((job) => backupOf(job) === backupId),
    get count() {
      return entries.size
    },
    async run(signal) {
      stopping = signal
      startWhatCan()
      await aborted(signal)
      while (running.size > 0) await Promise.allSettled([...running])
      for (const { ended } of entries.values()) ended.abort()
    },
  }
}

function backupOf(job: Job): string {
  return job.request.backup.record.id
}

/** Whether nothing that came earlier has to end first. */
function isNext(entry: Entry, entries: Iterable<Entry>): boolean {
  if (entry.state === 'running') return false
  for (const other of entries) {
    if (other === entry) return true
    if (backupOf(other.job) !== backupOf(entry.job)) continue
    // One backup can be restored onto two volumes at once.
    const operations = [entry.job.request.operation, other.job.request.operation]
    if (operations.some((operation) => operation !== 'restore')) return false
  }
  return true
}

function cancelOthers(job: Job, entries: Iterable<Entry>, log: Log): void {
  const id = backupOf(job)
  for (const { job: other, cancel } of entries) {
    const { operation } = other.request
    if (backupOf(other) !== id || operation === 'delete') continue
    log.info('cancelling', { backup_id: id, operation })
    cancel.abort(
      new AgentError('OPERATION_CANCELLED', `${operation} of backup ${id} cancelled by a delete`),
    )
  }
}
