import assert from 'node:assert/strict'
import { test } from 'node:test'

import { monotonicMs } from '#src/lib/clock.ts'
import { type Retry, type RetryPolicy, retry } from '#src/lib/retry.ts'

const never = new AbortController().signal
const policy: RetryPolicy = { attemptsMin: 3, backoffMs: 2, backoffMsMax: 8, budgetMs: 0 }

function failing(failures: number, error: Error = new Error('not yet')) {
  const attempts: number[] = []
  const attempt = async (attemptNumber: number) => {
    attempts.push(attemptNumber)
    if (attempts.length <= failures) throw error
    return 'done'
  }
  return { attempt, attempts }
}

test('a success at once is not tried again', async () => {
  const { attempt, attempts } = failing(0)

  const result = await retry(attempt, { policy, isRetryable: () => true, signal: never })

  assert.equal(result, 'done')
  assert.deepEqual(attempts, [1])
})

test('a success within the tries is a success', async () => {
  const { attempt, attempts } = failing(2)

  const result = await retry(attempt, { policy, isRetryable: () => true, signal: never })

  assert.equal(result, 'done')
  assert.deepEqual(attempts, [1, 2, 3])
})

test('without a budget it ends after the tries, with the last error', async () => {
  const errors: Error[] = []
  const attempt = async (attemptNumber: number) => {
    errors.push(new Error(`failure ${attemptNumber}`))
    throw errors.at(-1)
  }

  const thrown = await retry(attempt, { policy, isRetryable: () => true, signal: never }).catch(
    (error) => error,
  )

  assert.equal(errors.length, 3)
  assert.equal(thrown, errors[2])
})

test('a budget is used up after the tries, and not outlasted', async () => {
  const { attempt, attempts } = failing(Number.POSITIVE_INFINITY)
  const startMs = monotonicMs()

  const options = { policy: { ...policy, budgetMs: 200 }, isRetryable: () => true, signal: never }
  await assert.rejects(retry(attempt, options))

  const tookMs = monotonicMs() - startMs
  assert.ok(attempts.length > 3, `${attempts.length} tries`)
  assert.ok(tookMs >= 199 && tookMs < 2000, `${tookMs} ms`)
})

test('what is not retryable fails at once, also a TypeError', async () => {
  for (const error of [new Error('no'), new TypeError('a bug')]) {
    const { attempt, attempts } = failing(9, error)

    const options = { policy, isRetryable: () => error instanceof TypeError, signal: never }
    assert.equal(await retry(attempt, options).catch((thrown) => thrown), error)
    assert.equal(attempts.length, 1)
  }
})

test('the bound of the wait doubles up to its cap, and the wait is anywhere below it', async () => {
  const waits: number[][] = [[], [], [], []]
  const onRetry = ({ attemptNumber, waitMs }: Retry) => waits[attemptNumber - 1]?.push(waitMs)
  const five = { ...policy, attemptsMin: 5 }
  for (let run = 0; run < 40; run += 1) {
    const { attempt } = failing(9)
    await assert.rejects(
      retry(attempt, { policy: five, isRetryable: () => true, onRetry, signal: never }),
    )
  }

  const bounds = [2, 4, 8, 8]
  for (const [i, bound] of bounds.entries()) {
    const seen = waits[i] ?? []
    assert.equal(seen.length, 40)
    assert.ok(Math.max(...seen) <= bound && Math.max(...seen) > bound / 2, `wait ${i + 1}: ${seen}`)
    assert.ok(Math.min(...seen) < bound / 2, `no jitter in wait ${i + 1}: ${seen}`)
  }
})

test('a wait that was asked for is kept, but never beyond the budget', async () => {
  for (const [askedMs, budgetMs, leastMs, mostMs] of [
    [50, 10_000, 50, 60],
    [60_000, 80, 70, 80],
  ] as const) {
    const { attempt } = failing(1)
    const waits: number[] = []

    await retry(attempt, {
      policy: { ...policy, budgetMs },
      isRetryable: () => true,
      askedWaitMs: () => askedMs,
      onRetry: ({ waitMs }) => waits.push(waitMs),
      signal: never,
    })

    const [waitMs = 0] = waits
    assert.ok(waits.length === 1 && waitMs >= leastMs && waitMs <= mostMs, `waited ${waitMs} ms`)
  }
})

test('past the budget a wait that was asked for is cut to the cap', async () => {
  const { attempt } = failing(1)
  const waits: number[] = []

  await retry(attempt, {
    policy,
    isRetryable: () => true,
    askedWaitMs: () => 3_600_000,
    onRetry: ({ waitMs }) => waits.push(waitMs),
    signal: never,
  })

  assert.deepEqual(waits, [policy.backoffMsMax])
})

test('an abort during a wait ends it with the reason, whatever the failure was', async () => {
  const stop = new AbortController()
  const { attempt, attempts } = failing(9)
  const slow = { ...policy, backoffMs: 1e9, backoffMsMax: 1e9 }

  const thrown = await retry(attempt, {
    policy: slow,
    isRetryable: () => true,
    onRetry: () => setImmediate(() => stop.abort('stopping')),
    signal: stop.signal,
  }).catch((error) => error)

  assert.equal(thrown, 'stopping')
  assert.deepEqual(attempts, [1])
})

test('an abort before the first try makes none', async () => {
  const { attempt, attempts } = failing(0)

  const aborted = AbortSignal.abort('stopping')
  const options = { policy, isRetryable: () => true, signal: aborted }
  assert.equal(await retry(attempt, options).catch((error) => error), 'stopping')
  assert.deepEqual(attempts, [])
})
