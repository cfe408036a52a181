import assert from 'node:assert/strict'
import { test } from 'node:test'

import { byteBudget, shareOf } from '#src/lib/byte-budget.ts'
import { breathe } from '#src/lib/event-loop.ts'

const never = new AbortController().signal

/** What was granted so far, in order, once everything that can be was. */
async function granted(takes: readonly Promise<unknown>[]): Promise<number[]> {
  const done: number[] = []
  for (const [index, take] of takes.entries()) void take.then(() => done.push(index))
  await breathe()
  return done
}

test('requests wait in line, and small ones do not overtake a large one', async () => {
  const budget = byteBudget(10)
  const first = await budget.take(6, never)
  const takes = [budget.take(8, never), budget.take(1, never), budget.take(1, never)]

  assert.deepEqual(await granted(takes), [])
  first[Symbol.dispose]()
  assert.deepEqual(await granted(takes), [0, 1, 2])
})

test('who asks for more than there is gets all of it, alone', async () => {
  const budget = byteBudget(10)
  const first = await budget.take(1, never)
  const large = budget.take(99, never)
  const next = budget.take(1, never)

  assert.deepEqual(await granted([large, next]), [])
  first[Symbol.dispose]()
  assert.deepEqual(await granted([large, next]), [0])
  ;(await large)[Symbol.dispose]()
  assert.deepEqual(await granted([next]), [0])
})

test('what is shrunk goes to the next in line', async () => {
  const budget = byteBudget(10)
  const first = await budget.take(10, never)
  const next = budget.take(7, never)

  first.shrink(4)
  assert.deepEqual(await granted([next]), [])
  first.shrink(3)
  assert.deepEqual(await granted([next]), [0])
})

test('disposing twice gives back once', async () => {
  const budget = byteBudget(10)
  const first = await budget.take(6, never)
  await budget.take(4, never)
  first[Symbol.dispose]()
  first[Symbol.dispose]()

  assert.deepEqual(await granted([budget.take(7, never)]), [])
})

test('who gives up waiting makes room for those behind', async () => {
  const budget = byteBudget(10)
  await budget.take(6, never)
  const stop = new AbortController()
  const large = budget.take(8, stop.signal)
  const small = budget.take(4, never)

  stop.abort(new Error('stopped'))

  await assert.rejects(large, /stopped/)
  assert.deepEqual(await granted([small]), [0])
})

test('a share keeps one user from taking all', async () => {
  const budget = byteBudget(10)
  const share = shareOf(budget, 4)
  const mine = await share.take(4, never)
  const more = share.take(1, never)
  const others = budget.take(6, never)

  assert.deepEqual(await granted([more, others]), [1])
  mine[Symbol.dispose]()
  assert.deepEqual(await granted([more]), [0])
})

test('a share asks the whole in the order in which it was asked itself', async () => {
  const asked: number[] = []
  const whole = byteBudget(10)
  const share = shareOf(
    {
      ...whole,
      take(bytes, signal) {
        asked.push(bytes)
        return whole.take(bytes, signal)
      },
    },
    10,
  )
  const first = await share.take(10, never)
  const waited = share.take(3, never)

  first[Symbol.dispose]()
  const atOnce = share.take(4, never) // There is room, but the other one was here before.

  await Promise.all([waited, atOnce])
  assert.deepEqual(asked, [10, 3, 4])
})

test('a share that stops waiting for the whole gives back its part', async () => {
  const budget = byteBudget(10)
  const all = await budget.take(10, never)
  const share = shareOf(budget, 4)
  const stop = new AbortController()
  const waiting = share.take(4, stop.signal)
  stop.abort(new Error('stopped'))
  await assert.rejects(waiting, /stopped/)

  all[Symbol.dispose]()

  assert.deepEqual(await granted([share.take(4, never)]), [0])
})

test('large buffers are lent again while anything is taken, and never to two at once', async () => {
  const size = 2_097_152
  const budget = byteBudget(4 * size)
  const keeper = await budget.take(1, never)
  const [one, other] = [await budget.take(size, never), await budget.take(size, never)]
  const [first, second] = [one.buffer(size), other.buffer(size)]
  assert.notEqual(first, second)
  assert.equal(one.buffer(size), first)

  one[Symbol.dispose]()
  const again = await budget.take(size, never)
  assert.equal(again.buffer(size), first)

  for (const each of [again, other, keeper]) each[Symbol.dispose]()
  const later = (await budget.take(size, never)).buffer(size)
  assert.ok(later !== first && later !== second)
})
