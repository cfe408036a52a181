import assert from 'node:assert/strict'
import { test } from 'node:test'

import { breathe } from '#src/lib/event-loop.ts'
import { mapOrdered } from '#src/lib/map-ordered.ts'

const never = new AbortController().signal

/** Settles when the signal aborts, as every call must. */
function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}

test('results come in the order of their inputs, whatever finishes first', async () => {
  const gates = [0, 1, 2, 3].map(() => Promise.withResolvers<void>())
  const results = Array.fromAsync(
    mapOrdered([0, 1, 2, 3], 4, never, async (index) => {
      await gates[index]?.promise
      return index * 10
    }),
  )
  for (const index of [3, 1, 2, 0]) gates[index]?.resolve()

  assert.deepEqual(await results, [0, 10, 20, 30])
})

test('no more calls are in flight than allowed', async () => {
  let inFlight = 0
  let most = 0
  const inputs = Array.from({ length: 20 }, (_, index) => index)
  const results = mapOrdered(inputs, 3, never, async (input) => {
    inFlight += 1
    most = Math.max(most, inFlight)
    await breathe()
    inFlight -= 1
    return input
  })

  assert.deepEqual(await Array.fromAsync(results), inputs)
  assert.equal(most, 3)
})

test('the first failure is thrown, after the others were aborted and have ended', async () => {
  let ended = 0
  const results = mapOrdered([0, 1, 2], 3, never, async (input, signal) => {
    try {
      if (input === 1) {
        await breathe()
        throw new Error('the first failure')
      }
      return await untilAborted(signal)
    } finally {
      await breathe()
      ended += 1
    }
  })

  await assert.rejects(Array.fromAsync(results), /the first failure/)
  assert.equal(ended, 3)
})

test('an abort ends everything with its reason', async () => {
  const stop = new AbortController()
  let ended = 0
  const results = mapOrdered([0, 1], 2, stop.signal, async (_, signal) => {
    try {
      return await untilAborted(signal)
    } finally {
      ended += 1
    }
  })
  const all = Array.fromAsync(results)
  await breathe()
  stop.abort(new Error('stopped'))

  await assert.rejects(all, /stopped/)
  assert.equal(ended, 2)
})

test('who stops reading leaves nothing running', async () => {
  let ended = 0
  const results = mapOrdered([0, 1, 2], 3, never, async (input, signal) => {
    try {
      return input === 0 ? input : await untilAborted(signal)
    } finally {
      ended += 1
    }
  })
  for await (const result of results) {
    assert.equal(result, 0)
    break
  }

  assert.equal(ended, 3)
})
