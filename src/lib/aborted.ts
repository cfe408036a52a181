import { delay } from './clock.ts'

/** Resolves when `signal` aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

/**
 * Waits for `promise`, but no longer than `signal` lets: rejects then with the signal's reason, and
 * what becomes of the promise is nobody's concern any more.
 */
export function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
    void promise.then(resolve, reject).then(() => signal.removeEventListener('abort', onAbort))
  })
}

/** Waits for `work` to end, well or not, but for at most `ms`: for a last word while closing. */
export async function atMost(ms: number, work: Promise<unknown>): Promise<void> {
  const done = new AbortController()
  const ended = work.then(
    () => {},
    () => {}, // What is closing may fail.
  )
  await Promise.race([ended, delay(ms, done.signal).catch(() => {})])
  done.abort()
}
