import { delay } from '../../lib/clock.ts'
import type { Log } from '../../ports/log.ts'
import type { RequestSource } from '../../ports/rpc.ts'
import type { Settlement } from './request-intake.ts'

const pauseMsMin = 1_000
const pauseMsMax = 30_000

/**
 * From where a server takes requests now: not from the shared topic while it has enough to do, from
 * nowhere once it stops, and from nowhere for a while when the journal cannot be written: a second,
 * then twice as long each time, up to half a minute, until a request gets through. That is told once
 * for each time of trouble. `onChange` is called whenever `current` may give another answer.
 */
export function wantedSources(log: Log, onChange: () => void, signal: AbortSignal) {
  let isShared = true
  let isStopped = false
  let isPaused = false
  let pauseMs = 0

  const pause = () => {
    if (isPaused) return
    if (pauseMs === 0) {
      log.error('the journal cannot be written: no requests are taken; trying again by itself')
    }
    isPaused = true
    pauseMs = Math.min(Math.max(pauseMs * 2, pauseMsMin), pauseMsMax)
    onChange()
    delay(pauseMs, signal).then(
      () => {
        isPaused = false
        onChange()
      },
      () => {}, // The server stops.
    )
  }
  return {
    current: (): ReadonlySet<RequestSource> => {
      if (isStopped || isPaused) return new Set()
      return new Set(isShared ? ['topic', 'server', 'fanout'] : ['server', 'fanout'])
    },
    takeShared: (isWanted: boolean): void => {
      isShared = isWanted
      onChange()
    },
    stop: (): void => {
      isStopped = true
      onChange()
    },
    /** Takes note of how a request was settled. */
    settled: (settlement: Settlement): void => {
      if (settlement === 'pause') pause()
      if (settlement !== 'ack' || pauseMs === 0 || isPaused) return
      pauseMs = 0
      log.info('the journal can be written again: requests are taken')
    },
  }
}
