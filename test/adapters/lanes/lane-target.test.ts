import assert from 'node:assert/strict'
import { mock, type TestContext, test } from 'node:test'

import { laneTarget } from '#src/adapters/lanes/lane-target.ts'

/** A clock that is told what time it is. */
function aClock(t: TestContext) {
  let nowMs = 1000
  t.mock.method(performance, 'now', () => nowMs)
  return {
    advance(ms: number) {
      nowMs += ms
    },
  }
}

test('there are as many lanes as cores at first', () => {
  assert.equal(laneTarget(4, () => 1).count, 4)
})

test('lanes that wait for the store become more, up to twice the cores', (t) => {
  const clock = aClock(t)
  const target = laneTarget(2, () => 0.9)
  const counts: number[] = []

  for (let task = 0; task < 20; task += 1) {
    clock.advance(600)
    target.taskDone(0.95, true)
    counts.push(target.count)
  }

  assert.deepEqual([...new Set(counts)], [2, 3, 4])
})

for (const [why, idleShare, hasMore, spare] of [
  ['the machine has nothing to spare', 0.95, true, 0.3],
  ['nobody waits for a lane', 0.95, false, 0.9],
  ['they compute', 0.5, true, 0.9],
] as const) {
  test(`lanes do not become more where ${why}`, (t) => {
    const clock = aClock(t)
    const target = laneTarget(2, () => spare)

    for (let task = 0; task < 20; task += 1) {
      clock.advance(600)
      target.taskDone(idleShare, hasMore)
    }

    assert.equal(target.count, 2)
  })
}

test('the machine is looked at no more often than changes may follow each other', (t) => {
  const clock = aClock(t)
  const spareShare = mock.fn(() => 0)
  const target = laneTarget(2, spareShare)

  for (let task = 0; task < 100; task += 1) {
    clock.advance(100)
    target.taskDone(1, true)
  }

  assert.ok(spareShare.mock.callCount() <= 20, `${spareShare.mock.callCount()}`)
  assert.ok(spareShare.mock.callCount() >= 15, `${spareShare.mock.callCount()}`)
})

test('lanes become as few as cores again when they compute', (t) => {
  const clock = aClock(t)
  const target = laneTarget(2, () => 0.9)
  for (let task = 0; task < 10; task += 1) {
    clock.advance(600)
    target.taskDone(1, true)
  }
  assert.equal(target.count, 4)

  for (let task = 0; task < 20; task += 1) {
    clock.advance(600)
    target.taskDone(0, true)
  }

  assert.equal(target.count, 2)
})

test('a store that complains gets half of the lanes, once for several complaints', (t) => {
  const clock = aClock(t)
  const target = laneTarget(8, () => 1)

  for (let complaint = 0; complaint < 4; complaint += 1) target.throttled()
  assert.equal(target.count, 4)
  clock.advance(600)
  target.throttled()
  assert.equal(target.count, 2)
  for (let complaint = 0; complaint < 4; complaint += 1) {
    clock.advance(600)
    target.throttled()
  }
  assert.equal(target.count, 1)
})

test('a store that complained is left alone for a while, and then gets one lane after the other', (t) => {
  const clock = aClock(t)
  const target = laneTarget(4, () => 1)
  target.throttled()

  clock.advance(4000)
  target.taskDone(0.9, true)
  assert.equal(target.count, 2)
  clock.advance(1500)
  target.taskDone(0.9, true)
  target.taskDone(0.9, true)
  assert.equal(target.count, 3)
  clock.advance(600)
  target.taskDone(0.1, false)
  assert.equal(target.count, 4)
})
