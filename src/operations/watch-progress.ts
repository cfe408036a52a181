import { monotonicMs } from '../lib/clock.ts'
import { every } from '../lib/every.ts'
import type { Log } from '../ports/log.ts'

export type ProgressWatch = {
  /** Some job got on: began, ended, moved bytes, or waits for what a restart would not mend. */
  readonly moved: () => void
  /** Says that all is well, until `signal` aborts; resolves then. */
  run(signal: AbortSignal): Promise<void>
}

type Deps = {
  /** How many jobs are in hand. */
  readonly jobs: () => number
  /** Jobs that all stand still for longer hang. */
  readonly stillMsMax: number
  /** How often to say it; null: nobody listens. */
  readonly intervalMs: number | null
  readonly wellDone: () => void
  readonly log: Log
}

/**
 * Ties the supervisor's watchdog to the work, and not to a timer alone: it is fed only while the event
 * loop turns, and while no job is in hand or one of them got on lately. Where all of them hang the
 * supervisor starts the agent anew, and their work goes on from the journal.
 */
export function progressWatch(deps: Deps): ProgressWatch {
  const { jobs, stillMsMax, intervalMs, wellDone, log } = deps
  let movedMs = monotonicMs()
  let isStill = false
  const moved = () => {
    movedMs = monotonicMs()
  }
  return {
    moved,
    async run(signal) {
      if (intervalMs === null) return
      await every(intervalMs, signal, () => {
        if (jobs() === 0) moved()
        const stillMs = monotonicMs() - movedMs
        if (stillMs > stillMsMax && !isStill) {
          const seconds = Math.round(stillMs / 1000)
          log.error('no job gets on: the watchdog is not fed any more', { jobs: jobs(), seconds })
        }
        isStill = stillMs > stillMsMax
        if (!isStill) wellDone()
      })
    },
  }
}
