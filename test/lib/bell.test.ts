import assert from 'node:assert/strict'
import { test } from 'node:test'

import { bell } from '#src/lib/bell.ts'

const signal = AbortSignal.timeout(10_000)

test('whoever waits is woken by the next ring', async () => {
  const door = bell()
  const waiting = door.rungAfter(door.count, signal)

  door.ring()

  await waiting
  assert.equal(door.count, 1)
})

test('what was rung before one waits is not slept over', async () => {
  const door = bell()
  const seen = door.count
  door.ring()
  door.ring()

  await door.rungAfter(seen, signal)

  assert.equal(door.count, 2)
})

test('an abort ends the waiting, before it begins too', async () => {
  const door = bell()
  const stop = new AbortController()
  const waiting = door.rungAfter(0, stop.signal)

  stop.abort()

  await waiting
  await door.rungAfter(0, stop.signal)
  assert.equal(door.count, 0)
})
