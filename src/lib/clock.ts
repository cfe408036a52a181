// The only place that asks what time it is, so that a test can say so.

/** Milliseconds since 1970, by the wall clock: for timestamps that leave the process. */
export function wallClockMs(): number {
  return Date.now()
}

/** Milliseconds by a clock that never jumps: for durations and deadlines. */
export function monotonicMs(): number {
  return performance.now()
}

/** The moment as a Date: for text forms only. */
export function now(): Date {
  return new Date()
}

/** A moment in milliseconds since 1970 as a Date: for text forms only. */
export function dateOf(ms: number): Date {
  return new Date(ms)
}

/** The longest that a timer can be, 24 days; Node makes a longer one a millisecond. Source: its docs, `setTimeout`. */
const timerMsMax = 2 ** 31 - 1

/** Resolves after `ms`, or after 24 days; rejects with the signal's reason when it aborts first. */
export function delay(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const onAbort = () => {
      clearTimeout(timer)
      reject(signal.reason)
    }
    const timer = setTimeout(
      () => {
        signal.removeEventListener('abort', onAbort)
        resolve()
      },
      Math.min(ms, timerMsMax),
    )
    signal.addEventListener('abort', onAbort, { once: true })
  })
}
