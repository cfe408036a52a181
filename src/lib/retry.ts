import pRetry from 'p-retry'

import { delay, monotonicMs } from './clock.ts'

export type RetryPolicy = {
  /** Tries that are always made, the first included. */
  readonly attemptsMin: number
  /** Upper bound of the first wait; it doubles with every try, up to `backoffMsMax`. */
  readonly backoffMs: number
  readonly backoffMsMax: number
  /** After `attemptsMin` tries: how long to go on trying, counted from the first one. */
  readonly budgetMs: number
}

export type Retry = {
  readonly error: unknown
  /** The try that failed, from 1. */
  readonly attemptNumber: number
  readonly waitMs: number
}

export type RetryOptions = {
  readonly policy: RetryPolicy
  readonly isRetryable: (error: unknown) => boolean
  /** How long the other side asked us to stay away; null where it did not. */
  readonly askedWaitMs?: (error: unknown) => number | null
  /** Called before every wait. */
  readonly onRetry?: (retry: Retry) => void
  readonly signal: AbortSignal
}

/**
 * Runs `attempt` until it succeeds, fails for good, or has had both its tries and its time; rejects
 * with the last error. An abort wins over any failure: the promise then rejects with the signal's
 * reason. `isRetryable` is asked once for every failure.
 *
 * Waits have full jitter: many calls fail at once when a proxy dies, and must not come back at once.
 * A wait that would outlast the budget is cut to its end, so that the last try is made there.
 */
export async function retry<T>(
  attempt: (attemptNumber: number) => Promise<T>,
  { policy, isRetryable, askedWaitMs, onRetry, signal }: RetryOptions,
): Promise<T> {
  const startMs = monotonicMs()
  return pRetry(attempt, {
    retries: Number.POSITIVE_INFINITY, // Our own budget below decides.
    minTimeout: 0, // The wait is ours too: p-retry's jitter never goes below the full back-off.
    signal,
    shouldRetry: async ({ error, attemptNumber }) => {
      if (!isRetryable(error)) return false
      const budgetLeftMs = policy.budgetMs - (monotonicMs() - startMs)
      if (attemptNumber >= policy.attemptsMin && budgetLeftMs <= 0) return false

      const waitMs = waitBefore(attemptNumber, policy, askedWaitMs?.(error) ?? 0, budgetLeftMs)
      onRetry?.({ error, attemptNumber, waitMs })
      await delay(waitMs, signal)
      return true
    },
  })
}

function waitBefore(
  attemptNumber: number,
  { backoffMs, backoffMsMax }: RetryPolicy,
  askedMs: number,
  budgetLeftMs: number,
): number {
  const backoff = Math.random() * Math.min(backoffMs * 2 ** (attemptNumber - 1), backoffMsMax)
  // Those who were asked to stay away for the same time must not come back at once either.
  const wanted = askedMs > 0 ? askedMs + Math.random() * Math.min(backoffMs, backoffMsMax) : backoff
  // Past its budget a call still has its first tries, but no long waits between them.
  return Math.min(wanted, budgetLeftMs > 0 ? budgetLeftMs : backoffMsMax)
}
