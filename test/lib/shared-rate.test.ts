import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'

import { monotonicMs } from '#src/lib/clock.ts'
import { sharedRate, sharedRateOf } from '#src/lib/shared-rate.ts'

const signal = AbortSignal.timeout(60_000)

/** What `takers` loops get in `ms`, each taking `amount` at a time. */
async function takenWithin(
  ms: number,
  rate: ReturnType<typeof sharedRate>,
  { takers, amount }: { readonly takers: number; readonly amount: number },
): Promise<number> {
  const endMs = monotonicMs() + ms
  let taken = 0
  const loop = async () => {
    while (true) {
      await rate.take(amount, signal)
      if (monotonicMs() >= endMs) return
      taken += amount
    }
  }
  await Promise.all(Array.from({ length: takers }, loop))
  return taken
}

for (const takers of [1, 8]) {
  test(`${takers} who take all they can get the rate, and a tenth of a second more at first`, async () => {
    const perSecond = 1_000_000
    const rate = sharedRate(perSecond)

    const taken = await takenWithin(2000, rate, { takers, amount: 10_000 })

    assert.ok(taken <= perSecond * 2.11 + 10_000, `${taken}`)
    assert.ok(taken >= perSecond * 1.8, `${taken}`)
  })
}

test('no limit lets through at once, and nothing waits', () => {
  const rate = sharedRate(0)

  for (let i = 0; i < 1000; i += 1) assert.equal(rate.take(1e12, signal), undefined)
  assert.equal(rate.perSecond, 0)
})

test('an abort ends the wait with its reason', async () => {
  const rate = sharedRate(1)
  const stop = new AbortController()
  const reason = new Error('stopped')
  await rate.take(1, signal)
  const waiting = Promise.resolve(rate.take(1, stop.signal)).catch((error) => error)
  stop.abort(reason)

  assert.equal(await waiting, reason)
  assert.equal(await Promise.resolve(rate.take(1, stop.signal)).catch((error) => error), reason)
})

test('a new rate holds for who waits already, in every view of it', async () => {
  const rate = sharedRate(1)
  const other = sharedRateOf(rate.shared)
  await rate.take(1000, signal)
  const startMs = monotonicMs()
  const waiting = [rate.take(1, signal), other.take(1, signal)]

  rate.set(1_000_000)

  await Promise.all(waiting)
  assert.ok(monotonicMs() - startMs < 10_000)
  assert.equal(other.perSecond, 1_000_000)

  other.set(0)
  assert.equal(rate.take(1e9, signal), undefined)
})

test('threads keep one rate together', async () => {
  const perSecond = 1_000_000
  const rate = sharedRate(perSecond)
  const url = new URL('../../src/lib/shared-rate.ts', import.meta.url).href
  const code = `
    const { workerData, parentPort } = require('node:worker_threads')
    import(${JSON.stringify(url)}).then(async ({ sharedRateOf }) => {
      const rate = sharedRateOf(workerData)
      parentPort.postMessage('ready')
      await new Promise((resolve) => parentPort.once('message', resolve))
      const endMs = performance.now() + 1500
      let taken = 0
      while (true) {
        await rate.take(10_000, new AbortController().signal)
        if (performance.now() >= endMs) break
        taken += 10_000
      }
      parentPort.postMessage(taken)
    })`
  const workers = [1, 2, 3].map(() => new Worker(code, { eval: true, workerData: rate.shared }))
  const next = (worker: Worker) => new Promise((resolve) => worker.once('message', resolve))
  await Promise.all(workers.map(next))

  const counts = workers.map(next)
  for (const worker of workers) worker.postMessage('go')
  const taken = (await Promise.all(counts)).reduce<number>((sum, one) => sum + Number(one), 0)

  await Promise.all(workers.map((worker) => worker.terminate()))
  assert.ok(taken <= perSecond * 1.7 && taken >= perSecond * 1.2, `${taken}`)
})
