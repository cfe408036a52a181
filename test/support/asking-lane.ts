// A lane without a store: of a window it tells which tokens it was given, and how it was refused.

import { parentPort } from 'node:worker_threads'

import { laneWork } from '#src/adapters/lanes/lane-work.ts'
import { memoryStore } from '#src/adapters/object-store/memory-store.ts'
import { sharedReader, sharedWriter } from '#src/adapters/volumes/shared-volume.ts'
import type { AccessSource } from '#src/ports/identity.ts'

import { never } from './chains.ts'

type Access = AccessSource | null

if (parentPort !== null) {
  let given: Access = null
  laneWork(parentPort, {
    openStore(access, onRetry) {
      given = access
      onRetry({ fields: { call: 'put it', attemptNumber: 1 }, isThrottled: true })
      return memoryStore()
    },
    openReader: (shared) => sharedReader(shared, null),
    openWriter: (shared) => sharedWriter(shared, null),
    async storeWindow() {
      const first = await given?.access(never)
      const second = first && (await given?.renew(first, never))
      const tokens = [first?.token, second?.token].join()
      return { digests: new Uint8Array(Buffer.from(tokens)), chunks: [] }
    },
    restoreExtent: async () => ({ fetchedBytes: 0 }),
    rest() {},
    idleShare: () => 0,
  })
}
