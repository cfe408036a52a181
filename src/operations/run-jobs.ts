import { AgentError } from '../domain/errors.ts'
import type { BackupDevice, Job } from '../domain/job.ts'
import { aborted } from '../lib/aborted.ts'
import type { Log } from '../ports/log.ts'
import { type DeviceWait, deviceWait } from './device-wait.ts'
import { type InHand, type JobQueue, jobQueue } from './job-queue.ts'
import { restingPlaces } from './resting-places.ts'
import { type RunDeps, runJob } from './run-job.ts'
import { type TokenWait, tokenWait } from './token-wait.ts'

export type JobRunner = {
  /** Takes a job of the journal in hand: new, or left by an earlier life of the agent. */
  take(job: Job): void

  /** A caller that waits for the end of a job: heartbeats for those that asked. */
  watch(jobId: string): void

  /** The job may have a newer token: where it waits for one, it goes on. */
  renew(jobId: string): void

  /** The jobs in hand for a backup, the waiting ones too. */
  inHand(backupId: string): readonly Job[]

  /** Hands the device of a backup to the create that is in hand for it; null: there is none. */
  giveDevice(backupId: string, device: BackupDevice): Job | null

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
  /** Called when a job came, went, or left its place to others, with how many have not left theirs. */
  readonly onCount: (count: number) => void
}

type Entry = InHand & {
  readonly ended: AbortController
  readonly watched: Set<string> // Callers that get heartbeats.
  readonly device: DeviceWait
  readonly token: TokenWait
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
  const tellCount = () => deps.onCount(queue.size - resting.count)
  const resting = restingPlaces(() => {
    tellCount()
    startWhatCan()
  })
  let stopping: AbortSignal | null = null

  function startWhatCan(): void {
    resting.letRise(running.size, jobsMax)
    while (stopping !== null && !stopping.aborted) {
      const entry = queue.start(resting.hasPlace(running.size, jobsMax))
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
      const { job, cancel, device, token } = entry
      if (!(await runJob(job, { stop, cancel: cancel.signal, device, token }, deps))) return
    } catch (error) {
      log.error('a job was left by a defect; it goes on at the next start', { error })
    }
    queue.remove(entry)
    entry.ended.abort()
    tellCount()
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
      const [cancel, ended] = [new AbortController(), new AbortController()]
      const places = {
        rest: resting.rest,
        rise: (signal: AbortSignal) => resting.rise(running.size, jobsMax, signal),
      }
      const token = tokenWait(places, deps.authWaitMs)
      const waits = { device: deviceWait(places, job.device), token }
      const entry = { job, cancel, ended, watched: new Set<string>(), ...waits }
      queue.add(entry)
      if (cancels(entry)) cancelOthers(entry, queue, log)
      if (job.request.operation === 'reset_status') queue.prefer(entry)
      watch(job.id)
      tellCount()
      startWhatCan()
    },
    watch,
    renew: (jobId) => queue.get(jobId)?.token.came(),
    inHand: (backupId) => queue.ofBackup(backupId).map(({ job }) => job),
    giveDevice(backupId, device) {
      const entry = queue.ofBackup(backupId).find(({ job }) => job.request.operation === 'create')
      if (entry === undefined) return null
      journal.update(entry.job.id, { device })
      entry.device.put(device)
      return entry.job
    },
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

/** Decision D29: a delete and a reset of the status cancel what else is in hand for a backup. */
function cancels({ job }: Entry): boolean {
  const { operation, refused = null } = job.request
  if (refused !== null) return false
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
