import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { test } from 'node:test'

import { memoryStore } from '#src/adapters/object-store/memory-store.ts'
import { memoryVolumes } from '#src/adapters/volumes/memory-volumes.ts'
import { laneTools } from '#src/engine/lane-tools.ts'
import { storeWindow } from '#src/engine/store-window.ts'
import { container, never } from '../support/chains.ts'
import { aWindow } from '../support/lane-tasks.ts'

const volumeId = '41514981-daa2-4f6e-9fca-6d3e3256440e'

for (const compression of ['zlib', 'none'] as const) {
  test(`zeros in ${compression} leave the buffers before they are free for others, of any length`, async () => {
    const tools = laneTools(null)
    const store = memoryStore()
    await store.ensureContainer(container, never)
    const volumes = memoryVolumes(new Map([[volumeId, Buffer.alloc(100_000)]]))
    await using volume = await volumes.openSource({ volumeId, snapshotId: null }, never)
    /** The next task, which comes as soon as it may. */
    const free = () => {
      for (const buffer of [tools.buffers.plain(100_000), tools.buffers.stored(100_000)]) {
        buffer.fill(0xee)
      }
    }

    // More lengths than a lane remembers: volumes that end anywhere.
    for (let index = 1; index <= 40; index += 1) {
      const window = aWindow({ compression, lengthBytes: index * 2000 })
      const bench = { volume, store, tools, numbers: async () => index, free }
      const { chunks } = await storeWindow(window, bench, never)

      const [entry] = await store.listPage(container, chunks[0]?.name ?? '', '', never)
      assert.equal(chunks[0]?.md5, hash('md5', Buffer.alloc(window.lengthBytes)))
      assert.equal(entry?.md5, chunks[0]?.storedMd5, `${window.lengthBytes} bytes`)
      assert.equal(entry?.sizeBytes, chunks[0]?.storedBytes)
    }
  })
}
