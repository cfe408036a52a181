import assert from 'node:assert/strict'
import { test } from 'node:test'

import { memoryStore } from '#src/adapters/object-store/memory-store.ts'
import { pacedStore } from '#src/adapters/object-store/paced-store.ts'
import { monotonicMs } from '#src/lib/clock.ts'
import { sharedRate } from '#src/lib/shared-rate.ts'
import { testObjectStore } from '../../contracts/object-store.ts'

const signal = AbortSignal.timeout(60_000)

testObjectStore('pacedStore', async () => ({
  store: pacedStore(memoryStore(), sharedRate(100_000)),
  container: 'backups',
}))

test('stores that share a rate make no more requests a second than it says', async () => {
  const rate = sharedRate(100)
  const stores = [pacedStore(memoryStore(), rate), pacedStore(memoryStore(), rate)]
  const startMs = monotonicMs()

  await Promise.all(
    stores.flatMap((store) =>
      Array.from({ length: 16 }, () => store.listPage('backups', '', '', signal)),
    ),
  )

  // A tenth of a second may have been saved up, and the first one leaves at once.
  const tookMs = monotonicMs() - startMs
  assert.ok(tookMs >= 209, `32 requests took ${tookMs} ms`)
})
