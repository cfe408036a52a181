import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'

import { bytesAllowed, bytesNeeded, bytesServed } from '#src/adapters/lanes/lane-memory.ts'
import { memoryStore } from '#src/adapters/object-store/memory-store.ts'
import { memoryVolumes } from '#src/adapters/volumes/memory-volumes.ts'
import type { WindowTask } from '#src/domain/lane-tasks.ts'
import { storedBytesMax } from '#src/domain/stored-chunk.ts'
import { type LaneTools, laneTools } from '#src/engine/lane-tools.ts'
import { restoreExtent } from '#src/engine/restore-chunk.ts'
import { storeWindow } from '#src/engine/store-window.ts'

import { container, never } from '../../support/chains.ts'
import { anExtent, aWindow, someBytes, windowBytes } from '../../support/lane-tasks.ts'

const volumeId = '3220c896-be94-4fa5-9e6f-c9c39554130b'

/** The tools of a lane, and the most that was asked of its buffers. */
function measuredTools(): { readonly tools: LaneTools; readonly most: () => number } {
  const { buffers, ...tools } = laneTools(null)
  const sizes = { plain: 0, stored: 0, check: 0 }
  const measured = (name: keyof typeof sizes) => (bytes: number) => {
    const buffer = buffers[name](bytes)
    sizes[name] = Math.max(sizes[name], buffer.byteLength)
    return buffer
  }
  const parts = {
    plain: measured('plain'),
    stored: measured('stored'),
    check: measured('check'),
  }
  return {
    tools: { ...tools, buffers: { ...buffers, ...parts } },
    most: () => sizes.plain + sizes.stored + sizes.check,
  }
}

const windows: [string, Uint8Array, Partial<WindowTask>][] = [
  ['what is stored as it is', someBytes(), { compression: 'none' }],
  ['what is compressed', someBytes(), { verifiesUpload: false }],
  ['what is compressed and read again', someBytes(), {}],
  ['what does not get smaller', randomBytes(windowBytes), {}],
  ['zeros', new Uint8Array(windowBytes), {}],
  ['zeros that are stored as they are', new Uint8Array(windowBytes), { compression: 'none' }],
  ['an incremental', someBytes(), { parentDigests: new Uint8Array(windowBytes / 128) }],
]

for (const [what, bytes, fields] of windows) {
  test(`no more is asked of a lane's buffers than was said: ${what}`, async () => {
    const store = memoryStore()
    await store.ensureContainer(container, never)
    const volumes = memoryVolumes(new Map([[volumeId, Buffer.from(bytes)]]))
    await using volume = await volumes.openTarget(volumeId, never)
    const window = aWindow(fields)
    const backup = measuredTools()
    const bench = { volume, store, numbers: async () => 1, free: () => {} }
    const stored = await storeWindow(window, { ...bench, tools: backup.tools }, never)
    assert.ok(backup.most() <= bytesNeeded({ kind: 'window', window }), `${backup.most()}`)

    const [chunk] = stored.chunks
    assert.ok(chunk !== undefined)
    for (const bytesHeldMax of [windowBytes, windowBytes / 2]) {
      const extent = anExtent(chunk, { bytesHeldMax })
      const restore = measuredTools()
      await restoreExtent(extent, { volume, store, tools: restore.tools }, never)
      assert.ok(restore.most() <= bytesNeeded({ kind: 'extent', extent }), `${restore.most()}`)
    }
  })
}

test('zeros need little, and serve all of their bytes', () => {
  const extent = { offsetBytes: 0, lengthBytes: 2 ** 40 }
  const task = {
    kind: 'extent',
    extent: { kind: 'zeros', extent, bytesHeldMax: 1, volumeIsNew: false },
  } as const

  assert.equal(bytesServed(task), 2 ** 40)
  assert.ok(bytesNeeded(task) <= 1_048_576)
})

test('a job is served the bytes of the volume', async () => {
  const window = aWindow({ lengthBytes: 12_345 })
  const md5 = '00'.repeat(16)
  const place = { name: 'a-00001', offsetBytes: 0, lengthBytes: 54_321 } as const
  const extent = anExtent({ ...place, compression: 'bz2', md5 })

  assert.equal(bytesServed({ kind: 'window', window }), 12_345)
  assert.equal(bytesServed({ kind: 'extent', extent }), 54_321)
})

test('what was compressed in vain has room', () => {
  assert.ok(storedBytesMax(1) >= 1 + 600) // What bz2 may add to anything.
  assert.ok(storedBytesMax(1_000_000_000) >= 1_010_000_600)
})

test('lanes beyond the cores, which only hide how slow a store is, do with half of memory_max', () => {
  const allowed = [0, 1, 2, 3].map((working) => bytesAllowed(1000, working, 2))
  assert.deepEqual(allowed, [1000, 1000, 500, 500])
})
