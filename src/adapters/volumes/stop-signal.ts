// A job ends by a cancel, which is an outcome, or by the agent's stop, which leaves it for the next start.

import { hasCode } from '../../domain/errors.ts'

export type StopSignal = Disposable & { readonly signal: AbortSignal }

/** An agent that is told to stop is gone in ten seconds; what stays attached is attached again. */
const detachMsOfAStop = 3_000

/** For what must be done although nobody waits for the job any more; not for long once the agent stops. */
export function lastTries(signal: AbortSignal, stop: AbortSignal): StopSignal {
  return stopSignal(signal, stop, detachMsOfAStop)
}

/** For what must be waited for although nobody wants the job any more, unless the agent stops. */
export function untilStop(signal: AbortSignal, stop: AbortSignal): StopSignal {
  return stopSignal(signal, stop, 0)
}

/** Aborts so long after the agent stops, and not where the job is only cancelled. To be disposed, for `stop` lives long. */
function stopSignal(signal: AbortSignal, stop: AbortSignal, afterMs: number): StopSignal {
  const end = new AbortController()
  const both = [signal, stop]
  const look = () => {
    if (!isStopping(signal, stop)) return
    const over = AbortSignal.timeout(afterMs)
    over.addEventListener('abort', () => end.abort(stopReason(signal, stop)), { once: true })
  }
  if (isStopping(signal, stop)) look()
  else for (const one of both) one.addEventListener('abort', look, { once: true })
  return {
    signal: end.signal,
    [Symbol.dispose]() {
      for (const one of both) one.removeEventListener('abort', look)
    },
  }
}

export function isStopping(signal: AbortSignal, stop: AbortSignal): boolean {
  return stop.aborted || (signal.aborted && !hasCode(signal.reason, 'OPERATION_CANCELLED'))
}

export function stopReason(signal: AbortSignal, stop: AbortSignal): unknown {
  return stop.aborted ? stop.reason : signal.reason
}
