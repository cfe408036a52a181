import { AgentError, type ErrorCode } from '../../domain/errors.ts'
import { type RetryPolicy, retry } from '../../lib/retry.ts'
import type { ObjectStore } from '../../ports/object-store.ts'
import { type StoreCall, wrapStore } from './wrap-store.ts'

export type StoreRetry = {
  readonly call: StoreCall
  readonly error: unknown
  /** The try that failed, from 1. */
  readonly attemptNumber: number
  readonly waitMs: number
}

export type StoreRetryOptions = Omit<RetryPolicy, 'backoffMsMax'> & {
  readonly onRetry: (retry: StoreRetry) => void
}

// How often a call may fail in each way; what is not listed fails at once. A body that arrives
// damaged time after time is no accident of the network: something on the way changes it.
const failuresMax: Partial<Record<ErrorCode, number>> = {
  STORE_UNAVAILABLE: Number.POSITIVE_INFINITY,
  IDENTITY_UNAVAILABLE: Number.POSITIVE_INFINITY,
  UPLOAD_CORRUPT: 3,
  DOWNLOAD_CORRUPT: 3,
}

// Source: swiftclient/client.py, Connection: max_backoff.
const backoffMsMax = 64_000

/**
 * Tries every call again while it fails for a passing reason: at least `attemptsMin` times, then
 * until `budgetMs` after its first try. What the store asked for by `Retry-After` is honoured within
 * the budget. Rejects with the last failure, which then says how often it was tried.
 */
export function retryingStore(
  store: ObjectStore,
  { onRetry, ...policy }: StoreRetryOptions,
): ObjectStore {
  return wrapStore(store, async (call, run, signal) => {
    const failures = new Map<ErrorCode, number>()
    let attempts = 0
    try {
      return await retry(
        (attemptNumber) => {
          attempts = attemptNumber
          return run()
        },
        {
          policy: { ...policy, backoffMsMax },
          isRetryable: (error) => error instanceof AgentError && mayFailAgain(failures, error.code),
          askedWaitMs: retryAfterMs,
          onRetry: (failed) => onRetry({ call, ...failed }),
          signal,
        },
      )
    } catch (error) {
      if (signal.aborted || attempts === 1 || !(error instanceof AgentError)) throw error
      throw error.code in failuresMax ? gaveUp(error, attempts) : error
    }
  })
}

function mayFailAgain(failures: Map<ErrorCode, number>, code: ErrorCode): boolean {
  const count = (failures.get(code) ?? 0) + 1
  failures.set(code, count)
  return count < (failuresMax[code] ?? 0)
}

function retryAfterMs(error: unknown): number | null {
  const asked = error instanceof AgentError ? error.context['retryAfterMs'] : null
  return typeof asked === 'number' ? asked : null
}

function gaveUp(error: AgentError, attempts: number): AgentError {
  const message = `${error.message}, at the last of ${attempts} tries`
  return new AgentError(error.code, message, { ...error.context, attempts }, error)
}
