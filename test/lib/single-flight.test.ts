import assert from 'node:assert/strict'
import { test } from 'node:test'

import { singleFlight } from '#src/lib/single-flight.ts'

const never = new AbortController().signal

test('all who ask while it runs share one run; the next one runs anew', async () => {
  const runs: PromiseWithResolvers<number>[] = []
  const flight = singleFlight(() => {
    const run = Promise.withResolvers<number>()
    runs.push(run)
    return run.promise
  })

  const first = [flight.join(never), flight.join(never), flight.join(never)]
  runs[0]?.resolve(1)
  assert.deepEqual(await Promise.all(first), [1, 1, 1])
  const second = flight.join(never)
  runs[1]?.resolve(2)

  assert.equal(await second, 2)
  assert.equal(runs.length, 2)
})

test('a failure reaches all of them, and the next one tries again', async () => {
  let runs = 0
  const flight = singleFlight(async () => {
    runs += 1
    if (runs === 1) throw new Error('failed')
    return runs
  })

  const results = await Promise.allSettled([flight.join(never), flight.join(never)])

  assert.deepEqual(
    results.map(({ status }) => status),
    ['rejected', 'rejected'],
  )
  assert.equal(await flight.join(never), 2)
})

test('who gives up gets the reason; the run goes on for the others', async () => {
  const run = Promise.withResolvers<string>()
  const flight = singleFlight(() => run.promise)
  const impatient = new AbortController()

  const left = flight.join(impatient.signal).catch((error) => error)
  const stayed = flight.join(never)
  impatient.abort('enough')
  assert.equal(await left, 'enough')
  run.resolve('done')

  assert.equal(await stayed, 'done')
})

test('disposing aborts the run and waits for its end', async () => {
  let ended = false
  const flight = singleFlight(async (signal) => {
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
    await new Promise((resolve) => setImmediate(resolve))
    ended = true
    throw new Error('cut short')
  })
  const joined = flight.join(never).catch((error: Error) => error.message)

  await flight[Symbol.asyncDispose]()

  assert.ok(ended)
  assert.equal(await joined, 'cut short')
})
