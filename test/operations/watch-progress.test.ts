import assert from 'node:assert/strict'
import { test } from 'node:test'

import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { delay } from '#src/lib/clock.ts'
import { progressWatch } from '#src/operations/watch-progress.ts'
import { eventually } from '../support/rabbit.ts'

/** A watch that looks every few milliseconds, and how often it was content. */
function setUp(jobs: () => number) {
  const log = recordingLog()
  const stop = new AbortController()
  let count = 0
  const wellDone = () => {
    count += 1
  }
  const watch = progressWatch({ jobs, stillMsMax: 100, intervalMs: 5, wellDone, log })
  const running = watch.run(stop.signal)
  return {
    watch,
    log,
    count: () => count,
    async [Symbol.asyncDispose]() {
      stop.abort()
      await running
    },
  }
}

const signal = AbortSignal.timeout(30_000)

test('an agent without jobs is well, however long', async () => {
  await using bench = setUp(() => 0)

  await delay(250, signal)
  const before = bench.count()

  await eventually(() => bench.count() > before, 'it is fed')
})

test('jobs that all stand still starve the watchdog, and one that moves feeds it again', async () => {
  await using bench = setUp(() => 3)
  const told = () => bench.log.lines.filter(({ level }) => level === 'error')

  await eventually(() => told().length === 1, 'the log says that no job gets on')
  const before = bench.count()
  await delay(50, signal)
  assert.equal(bench.count(), before)
  assert.equal(told().length, 1)
  assert.match(told()[0]?.message ?? '', /no job gets on/)

  bench.watch.moved()
  await eventually(() => bench.count() > before, 'it is fed')
})

test('jobs that move feed it all the time', async () => {
  await using bench = setUp(() => 1)

  for (let round = 0; round < 30; round += 1) {
    bench.watch.moved()
    await delay(10, signal)
  }

  assert.deepEqual(bench.log.lines, [])
})
