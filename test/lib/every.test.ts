import assert from 'node:assert/strict'
import { test } from 'node:test'

import { aborted } from '#src/lib/aborted.ts'
import { every } from '#src/lib/every.ts'

test('work is done at once and again, one after the other, until the signal aborts', async () => {
  const stop = new AbortController()
  let running = 0
  let count = 0

  await every(1, stop.signal, async () => {
    running += 1
    assert.equal(running, 1)
    await Promise.resolve()
    running -= 1
    count += 1
    if (count === 3) stop.abort()
  })

  assert.equal(count, 3)
})

test('an abort ends the wait between two turns at once', async () => {
  const stop = new AbortController()
  const ending = every(3_600_000, stop.signal, () => queueMicrotask(() => stop.abort()))

  await ending
})

test('no work is done for a signal that aborted before', async () => {
  let count = 0

  await every(1, AbortSignal.abort(), () => {
    count += 1
  })

  assert.equal(count, 0)
})

test('aborted resolves when the signal aborts, or did', async () => {
  const stop = new AbortController()
  const waiting = aborted(stop.signal)
  stop.abort()

  await waiting
  await aborted(stop.signal)
})
