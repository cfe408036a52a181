import type { BackupRecord } from '../domain/backup-record.ts'
import type { Job } from '../domain/job.ts'
import { monotonicMs } from '../lib/clock.ts'
import type { Journal, Outbox } from '../ports/journal.ts'
import type { Publisher } from '../ports/rpc.ts'
import { type Progress, progressEvent } from './job-events.ts'

export type ProgressReport = AsyncDisposable & {
  tell(record: BackupRecord, bytesDone: number, bytesTotal: number, chunkCount?: number): void
}

type Deps = {
  readonly journal: Pick<Journal, 'nextSequence' | 'update'>
  readonly outbox: Pick<Outbox, 'events'>
  readonly publisher: Publisher
}

/** At most one progress message a second for one backup (decision D12). */
const intervalMs = 1000

/** Each note is a transaction, and the agent waits for its disk as long. */
const noteMs = 10_000

/** How long the end of a run waits for a progress message that is on its way. */
const lastMessageMs = 1000

/** The rate is that of the last seconds, not of the whole run. */
const rateWindowMs = 10_000

/**
 * Tells the bus how far a run got. Nothing waits for it: where the broker is away, or durable events
 * are still to be sent, a message is left out. When disposed, none is under way any more, so that the
 * final event is the last.
 */
export function progressReport(job: Job, { journal, outbox, publisher }: Deps): ProgressReport {
  const stop = new AbortController()
  const rate = rateMeter()
  let toldMs = Number.NEGATIVE_INFINITY
  let notedMs = Number.NEGATIVE_INFINITY
  let sending: Promise<void> | null = null

  async function send(
    record: BackupRecord,
    progress: Omit<Progress, 'bytesPerSecond'>,
  ): Promise<void> {
    const bytesPerSecond = rate(progress.bytesDone)
    const sequence = journal.nextSequence(job.id)
    const event = progressEvent(job, record, sequence, { ...progress, bytesPerSecond })
    await publisher.notify(event, stop.signal)
  }

  return {
    tell(record, bytesDone, bytesTotal, chunkCount = 0) {
      const isLast = bytesDone >= bytesTotal
      if (!isLast && monotonicMs() - toldMs < intervalMs) return
      toldMs = monotonicMs()
      try {
        if (bytesDone > 0 && toldMs - notedMs >= noteMs) {
          notedMs = toldMs
          journal.update(job.id, { highWaterBytes: bytesDone })
        }
        if (sending !== null || stop.signal.aborted || !publisher.isReady) return
        if (outbox.events(1).length > 0) return
        sending = send(record, { bytesDone, bytesTotal, chunkCount })
      } catch {
        return // A journal that cannot be written is noticed where it matters.
      }
      sending = sending
        .catch(() => undefined)
        .finally(() => {
          sending = null
        })
    },
    async [Symbol.asyncDispose]() {
      const timeout = AbortSignal.timeout(lastMessageMs)
      const abort = () => stop.abort()
      timeout.addEventListener('abort', abort, { once: true })
      await sending
      timeout.removeEventListener('abort', abort)
      stop.abort()
    },
  }
}

/** Bytes per second over the last few seconds, given the bytes done so far. */
function rateMeter(): (bytesDone: number) => number {
  const samples: { ms: number; bytes: number }[] = [{ ms: monotonicMs(), bytes: 0 }]
  return (bytes) => {
    const ms = monotonicMs()
    samples.push({ ms, bytes })
    while (samples.length > 2 && ms - (samples[0]?.ms ?? ms) > rateWindowMs) samples.shift()
    const first = samples[0] ?? { ms, bytes }
    return ms > first.ms ? ((bytes - first.bytes) * 1000) / (ms - first.ms) : 0
  }
}
