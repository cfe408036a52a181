import assert from 'node:assert/strict'
import { test } from 'node:test'

import { delay } from '#src/lib/clock.ts'

test('a wait longer than a timer can be is no short one', async () => {
  const end = new AbortController()
  let hasPassed = false
  const waits = [2 ** 31, 1e15, Number.POSITIVE_INFINITY].map((ms) =>
    delay(ms, end.signal).then(
      () => {
        hasPassed = true
      },
      (reason) => assert.equal(reason, end.signal.reason),
    ),
  )

  await delay(20, new AbortController().signal)
  end.abort()
  await Promise.all(waits)

  assert.equal(hasPassed, false)
})
