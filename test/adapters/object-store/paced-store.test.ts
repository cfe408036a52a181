import assert from 'node:assert/strict'
import { test } from 'node:test'

import { memoryStore } from '#src/adapters/object-store/memory-store.ts'
import { pacedStore, requestPace } from '#src/adapters/object-store/paced-store.ts'
import { monotonicMs } from '#src/lib/clock.ts'
import { testObjectStore } from '../../contracts/object-store.ts'

const signal = AbortSignal.timeout(60_000)

testObjectStore('pacedStore', async () => ({
  store: pacedStore(memoryStore(), requestPace(100_000)),
  container: 'backups',
}))

test('stores that share a pace make no more requests a second than it says', async () => {
  const pace = requestPace(100)
  const stores = [pacedStore(memoryStore(), pace), pacedStore(memoryStore(), pace)]
  const startMs = monotonicMs()

  await Promise.all(
    stores.flatMap((store) =>
      Array.from({ length: 11 }, () => store.listPage('backups', '', '', signal)),
    ),
  )

  const tookMs = monotonicMs() - startMs
  assert.ok(tookMs >= 200, `22 requests took ${tookMs} ms`) // The first one leaves at once.
})

test('a pause is not saved up for a burst', async () => {
  const pace = requestPace(50)
  await pace(signal)
  await new Promise((resolve) => setTimeout(resolve, 100))
  const startMs = monotonicMs()

  await Promise.all([pace(signal), pace(signal), pace(signal)])

  const tookMs = monotonicMs() - startMs
  assert.ok(tookMs >= 38, `three requests took ${tookMs} ms`)
})
