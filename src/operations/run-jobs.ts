import { AgentError } from '../domain/errors.ts'
import type { BackupDevice, Job } from '../domain/job.ts'
import { aborted } from '../lib/aborted.ts'
import { delay } from '../lib/clock.ts'
import type { Log } from '../ports/log.ts'
import { type DeviceWait, deviceWait } from './device-wait.ts'
import { type InHand, type JobQueue, jobQueue } from './job-queue.ts'
import { restingPlaces } from './resting-places.ts'
import { type RunDeps, runJob } from './run-job.ts'
import { type TokenWait, tokenWait } from './token-wait.ts'

export type JobRunner = {
  /** Takes a new job of the journal in hand. */
  take(job: Job): void

  /** Takes one in hand that was left, by an earlier life of the agent too. */
  takeLeft(job: Job): void

  /** A caller that waits for the end of a job: heartbeats for those that asked. */
  watch(jobId: string): void

  /** The job may have a newer token: where it waits for one, it goes on. */
  renew(jobId: string): void

  /** The jobs in hand for a backup, the waiting ones too. */
  inHand(backupId: string): readonly Job[]

  /**
   * Hands the device of a backup to the create that is in hand for it; null: there is none. One that has
   * another already keeps it.
   */
  giveDevice(
    backupId: string,
    device: BackupDevice,
  ): { readonly job: Job; readonly isTaken: boolean } | null

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
  /** After how long a job that was left is taken up again; ten minutes where nothing is said. */
  readonly leftMs?: number
  /** Called when a job came, went, or left its place to others, with how many have not left theirs. */
  readonly onCount: (count: number) => void
}

type Entry = InHand & {
  readonly isLeft: boolean
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
  const { journal, jobsMax, log } = deps
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
      const { job, isLeft, cancel, device, token } = entry
      const signals = { stop, cancel: cancel.signal, device, token }
      if (!(await runJob(job, isLeft, signals, deps))) return
    } catch (error) {
      log.error("a job was left: Cinder's rows refuse it, or by a defect; it goes on later", {
        error,
      })
      void leftJob(entry.job.id, deps, stop).then((job) => job !== null && take(job, true))
    }
    queue.remove(entry)
    entry.ended.abort()
    tellCount()
  }

  function watch(jobId: string): void {
    const entry = queue.get(jobId)
    if (entry !== undefined) watchCallers(entry, deps)
  }

  function take(job: Job, isLeft: boolean): void {
    const rise = (signal: AbortSignal) => resting.rise(running.size, jobsMax, signal)
    const entry = entryOf(job, isLeft, { rest: resting.rest, rise }, deps.authWaitMs)
    queue.add(entry)
    if (cancels(entry)) cancelOthers(entry, queue, log)
    if (job.request.operation === 'reset_status') queue.prefer(entry)
    watch(job.id)
    tellCount()
    startWhatCan()
  }

  return {
    take: (job) => take(job, false),
    takeLeft: (job) => take(job, true),
    watch,
    renew: (jobId) => queue.get(jobId)?.token.came(),
    inHand: (backupId) => queue.ofBackup(backupId).map(({ job }) => job),
    giveDevice(backupId, device) {
      const entry = queue.ofBackup(backupId).find(({ job }) => job.request.operation === 'create')
      return entry === undefined ? null : give(entry, device, journal)
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

/** The same one may come again because it could not be noted. */
function give({ job, device: wait }: Entry, device: BackupDevice, journal: RunnerDeps['journal']) {
  if ((wait.known() ?? device).id !== device.id) return { job, isTaken: false }
  journal.update(job.id, { device })
  wait.put(device)
  return { job, isTaken: true }
}

function entryOf(
  job: Job,
  isLeft: boolean,
  places: Parameters<typeof deviceWait>[0],
  authWaitMs: number,
): Entry {
  return {
    ...{ job, isLeft, cancel: new AbortController(), ended: new AbortController() },
    watched: new Set<string>(),
    device: deviceWait(places, job.device),
    token: tokenWait(places, authWaitMs),
  }
}

/** Heartbeats for those that asked. */
function watchCallers({ job, watched, ended }: Entry, { journal, publisher }: RunnerDeps): void {
  for (const caller of journal.callers(job.id)) {
    const key = JSON.stringify(caller)
    if (watched.has(key)) continue
    watched.add(key)
    publisher.monitor(caller, ended.signal).catch(() => undefined)
  }
}

/**
 * A job that was left, when it is to be taken up again; null: there is none any more. Its place is for others
 * meanwhile. A right that is given back must not need a restart of the agent too.
 */
async function leftJob(
  jobId: string,
  { journal, log, leftMs = 600_000 }: RunnerDeps,
  stop: AbortSignal,
): Promise<Job | null> {
  try {
    await delay(leftMs, stop)
    return journal.unfinished().find(({ id }) => id === jobId) ?? null
  } catch (error) {
    if (!stop.aborted) log.error('a job is left for the next start', { error })
    return null
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
