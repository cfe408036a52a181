import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'

import { aborted, atMost, orAborted } from '#src/lib/aborted.ts'
import { monotonicMs } from '#src/lib/clock.ts'

const never = new Promise<never>(() => {})
const reason = new Error('made up')

test('an abort is waited for, before and after it happened', async () => {
  const stop = new AbortController()
  const waiting = aborted(stop.signal)

  stop.abort()

  await waiting
  await aborted(stop.signal)
})

test('what comes before the abort counts, well or not', async () => {
  const stop = new AbortController()

  assert.equal(await orAborted(Promise.resolve(7), stop.signal), 7)
  await assert.rejects(orAborted(Promise.reject(reason), stop.signal), reason)
})

test('an abort ends the waiting with its reason', async () => {
  const stop = new AbortController()
  const waiting = orAborted(never, stop.signal)

  stop.abort(reason)

  await assert.rejects(waiting, reason)
})

test('a failure that nobody waits for any more harms nobody', async () => {
  const unhandled: unknown[] = []
  const note = (error: unknown) => unhandled.push(error)
  process.on('unhandledRejection', note)

  const late = Promise.reject(new Error('late'))
  await assert.rejects(orAborted(late, AbortSignal.abort(reason)), reason)
  await setImmediate()

  process.off('unhandledRejection', note)
  assert.deepEqual(unhandled, [])
})

test('a last word is waited for, but not for long, and may fail', async () => {
  const startMs = monotonicMs()

  await atMost(60_000, Promise.reject(reason))
  await atMost(20, never)

  assert.ok(monotonicMs() - startMs < 10_000)
})
