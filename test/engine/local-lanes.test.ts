import { memoryStore } from '#src/adapters/object-store/memory-store.ts'
import { memoryVolumes } from '#src/adapters/volumes/memory-volumes.ts'
import { localLanes } from '#src/engine/local-lanes.ts'

import { lanesContract } from '../contracts/lanes.ts'
import { container, never } from '../support/chains.ts'

const volumeId = '3220c896-be94-4fa5-9e6f-c9c39554130b'

lanesContract('localLanes', async () => {
  const store = memoryStore()
  await store.ensureContainer(container, never)
  const lanes = localLanes()
  const volumesOf = (bytes: Uint8Array) => memoryVolumes(new Map([[volumeId, bytes.slice()]]))
  return {
    lanes,
    store,
    source: (bytes) => volumesOf(bytes).openSource({ volumeId, snapshotId: null }, never),
    target: (bytes) => volumesOf(bytes).openTarget(volumeId, never),
    [Symbol.asyncDispose]: () => lanes[Symbol.asyncDispose](),
  }
})
