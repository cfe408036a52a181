import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { test } from 'node:test'
import zlib from 'node:zlib'

import type { AgentError } from '#src/domain/errors.ts'
import type { PutChunk } from '#src/domain/lane-tasks.ts'
import { chunkName } from '#src/domain/object-names.ts'
import type { Lanes, LaneUse } from '#src/ports/lanes.ts'
import type { ObjectStore } from '#src/ports/object-store.ts'
import type { VolumeReader, VolumeWriter } from '#src/ports/volumes.ts'

import { aLaneJob, container, never } from '../support/chains.ts'
import {
  anExtent,
  aWindow,
  blockBytes,
  digestsOf,
  numbersFrom,
  objectBytes,
  objectNames,
  someBytes,
  windowBytes,
} from '../support/lane-tasks.ts'

/** One lane, the store that it works with, and volumes for it. */
export type LanesFixture = AsyncDisposable & {
  readonly lanes: Lanes
  readonly store: ObjectStore
  source(bytes: Uint8Array): Promise<VolumeReader>
  target(bytes: Uint8Array): Promise<VolumeWriter>
}

const bytes = someBytes()

function open({ lanes, store }: LanesFixture, volume: VolumeReader): LaneUse {
  return lanes.open(aLaneJob({ store, volume }))
}

/** Backs up `content` as one window. */
async function putWindow(fixture: LanesFixture, content = bytes): Promise<PutChunk> {
  await using volume = await fixture.source(content)
  await using use = open(fixture, volume)
  const { chunks } = await use.storeWindow(
    aWindow({ lengthBytes: content.byteLength }),
    () => 1,
    never,
  )
  assert.equal(chunks.length, 1)
  return chunks[0] as PutChunk
}

async function contentOf(volume: VolumeReader): Promise<Uint8Array> {
  const content = new Uint8Array(volume.sizeBytes)
  await volume.read(0, content)
  return content
}

/** What all lanes must do. Each adapter's test file calls this with its own factory. */
export function lanesContract(name: string, openFixture: () => Promise<LanesFixture>): void {
  test(`${name}: a full window is digested and put as one object`, async () => {
    await using fixture = await openFixture()
    await using volume = await fixture.source(bytes)
    await using use = open(fixture, volume)
    const { asked, numbers } = numbersFrom(7)

    const result = await use.storeWindow(aWindow(), numbers, never)

    const stored = await objectBytes(fixture.store, 'backup-00007')
    assert.deepEqual(new Uint8Array(zlib.inflateSync(stored)), bytes)
    assert.deepEqual(new Uint8Array(result.digests), digestsOf(bytes))
    assert.deepEqual(result.chunks, [
      {
        name: 'backup-00007',
        offsetBytes: 0,
        lengthBytes: windowBytes,
        compression: 'zlib',
        md5: hash('md5', bytes),
        storedBytes: stored.byteLength,
        storedMd5: hash('md5', stored),
      },
    ])
    assert.deepEqual(asked, [1])
  })

  for (const [much, changed] of [
    ['much', [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 30, 31, 62]],
    ['little', [2, 3, 63]],
  ] as const) {
    test(`${name}: of an incremental with ${much} new, only that is put, its numbers asked for once`, async () => {
      await using fixture = await openFixture()
      const now = bytes.slice()
      for (const block of changed) now[block * blockBytes + 5] = 255
      await using volume = await fixture.source(now)
      await using use = open(fixture, volume)
      const { asked, numbers } = numbersFrom(20)

      const task = aWindow({ parentDigests: digestsOf(bytes) })
      const { digests, chunks } = await use.storeWindow(task, numbers, never)

      const restored = bytes.slice()
      for (const { name: object, offsetBytes } of chunks) {
        restored.set(zlib.inflateSync(await objectBytes(fixture.store, object)), offsetBytes)
      }
      const stored = chunks.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0)
      assert.deepEqual(restored, now)
      assert.deepEqual(new Uint8Array(digests), digestsOf(now))
      assert.equal(stored, changed.length * blockBytes)
      assert.deepEqual(asked, [chunks.length])
      assert.deepEqual(
        chunks.map(({ name: object }) => object),
        chunks.map((_, index) => chunkName('backup', 20 + index)),
      )
    })
  }

  test(`${name}: an incremental without changes puts nothing and asks for no number`, async () => {
    await using fixture = await openFixture()
    await using volume = await fixture.source(bytes)
    await using use = open(fixture, volume)
    const { asked, numbers } = numbersFrom(1)

    const task = aWindow({ parentDigests: digestsOf(bytes) })
    const { chunks } = await use.storeWindow(task, numbers, never)

    assert.deepEqual([chunks, asked], [[], []])
    assert.deepEqual(await objectNames(fixture.store), [])
  })

  test(`${name}: a window of zeros is an object like others, or none where that is wanted`, async () => {
    await using fixture = await openFixture()
    const zeros = new Uint8Array(windowBytes)
    await using volume = await fixture.source(zeros)
    await using use = open(fixture, volume)
    const { asked, numbers } = numbersFrom(1)

    const sparse = await use.storeWindow(aWindow({ zeroChunks: 'sparse' }), numbers, never)
    assert.deepEqual([sparse.chunks, asked], [[], []])
    const compat = await use.storeWindow(aWindow(), numbers, never)
    const again = await use.storeWindow(aWindow(), numbers, never)
    const none = await use.storeWindow(aWindow({ compression: 'none' }), numbers, never)

    for (const { chunks, digests } of [compat, again, none]) {
      const [chunk] = chunks
      const stored = await objectBytes(fixture.store, chunk?.name ?? '')
      const isPlain = chunk?.compression === 'none'
      assert.deepEqual(new Uint8Array(isPlain ? stored : zlib.inflateSync(stored)), zeros)
      assert.equal(chunk?.md5, hash('md5', zeros))
      assert.equal(chunk?.storedMd5, hash('md5', stored))
      assert.deepEqual(new Uint8Array(digests), digestsOf(zeros))
    }
    assert.deepEqual(
      await objectNames(fixture.store),
      [1, 2, 3].map((n) => `backup-0000${n}`),
    )
  })

  test(`${name}: who was aborted before, or waits, gets the reason, and others go on`, async () => {
    await using fixture = await openFixture()
    await using volume = await fixture.source(bytes)
    await using use = open(fixture, volume)
    const reason = new Error('enough')
    const aborting = new AbortController()
    const none = numbersFrom(9)
    let waiting: Promise<unknown> = Promise.resolve()

    const first = use.storeWindow(
      aWindow(),
      () => {
        waiting = use.storeWindow(aWindow(), none.numbers, aborting.signal)
        waiting.catch(() => {})
        aborting.abort(reason)
        return 1
      },
      never,
    )
    await first

    await assert.rejects(waiting, (error) => error === reason)
    await assert.rejects(
      use.storeWindow(aWindow(), none.numbers, aborting.signal),
      (error) => error === reason,
    )
    assert.deepEqual(none.asked, [])
    assert.deepEqual(await objectNames(fixture.store), ['backup-00001'])
  })

  test(`${name}: a task that is aborted while it runs ends with the reason, and puts nothing`, async () => {
    await using fixture = await openFixture()
    await using volume = await fixture.source(bytes)
    await using use = open(fixture, volume)
    const reason = new Error('enough')
    const aborting = new AbortController()
    const numbers = () => {
      aborting.abort(reason)
      return 1
    }

    const task = use.storeWindow(aWindow(), numbers, aborting.signal)

    await assert.rejects(task, (error) => error === reason)
    assert.deepEqual(await objectNames(fixture.store), [])
    await use.storeWindow(aWindow(), () => 2, never) // The lane is free again.
    assert.deepEqual(await objectNames(fixture.store), ['backup-00002'])
  })

  test(`${name}: what the store says comes with its code and context`, async () => {
    await using fixture = await openFixture()
    await using volume = await fixture.source(bytes)
    await using use = open(fixture, volume)

    const task = use.storeWindow(aWindow({ container: 'elsewhere' }), () => 1, never)

    await assert.rejects(task, (error: AgentError) => {
      assert.equal(error.code, 'CONTAINER_NOT_FOUND')
      assert.equal(error.context['container'], 'elsewhere')
      assert.match(error.message, /elsewhere/)
      return true
    })
  })

  test(`${name}: a failure in the one who gives numbers is the task's`, async () => {
    await using fixture = await openFixture()
    await using volume = await fixture.source(bytes)
    await using use = open(fixture, volume)
    const refusing = () => {
      throw new Error('no more numbers')
    }

    await assert.rejects(use.storeWindow(aWindow(), refusing, never), /no more numbers/)
  })

  test(`${name}: what the volume says comes with its code`, async () => {
    await using fixture = await openFixture()
    await using volume = await fixture.source(bytes)
    await using use = open(fixture, volume)

    const task = use.storeWindow(aWindow({ offsetBytes: windowBytes / 2 }), () => 1, never)

    await assert.rejects(task, { code: 'VOLUME_CHANGED' })
  })

  test(`${name}: the pieces of a good chunk are written, and nothing beside them`, async () => {
    await using fixture = await openFixture()
    const chunk = await putWindow(fixture)
    const old = new Uint8Array(windowBytes).fill(9)
    await using volume = await fixture.target(old)
    await using use = open(fixture, volume)

    const half = windowBytes / 2
    const pieces = [{ offsetBytes: half, lengthBytes: half }]
    const part = await use.restoreExtent(anExtent(chunk, { pieces }), never)
    const expected = new Uint8Array([...old.subarray(half), ...bytes.subarray(half)])
    assert.deepEqual(await contentOf(volume), expected)
    await use.restoreExtent(anExtent(chunk), never)
    assert.deepEqual(await contentOf(volume), bytes)
    assert.equal(part.fetchedBytes, chunk.storedBytes)
  })

  test(`${name}: a chunk that may not be held is written while it comes`, async () => {
    await using fixture = await openFixture()
    const chunk = await putWindow(fixture)
    await using volume = await fixture.target(new Uint8Array(windowBytes).fill(9))
    await using use = open(fixture, volume)

    const task = anExtent(chunk, { bytesHeldMax: windowBytes / 4 })
    const { fetchedBytes } = await use.restoreExtent(task, never)

    assert.deepEqual(await contentOf(volume), bytes)
    assert.equal(fetchedBytes, chunk.storedBytes)
  })

  test(`${name}: a corrupt chunk is named with its place, and not written`, async () => {
    await using fixture = await openFixture()
    const chunk = await putWindow(fixture)
    const object = { container, name: chunk.name }
    const stored = await objectBytes(fixture.store, chunk.name)
    stored[40] = (stored[40] ?? 0) ^ 1
    await fixture.store.putObject(object, stored, never)
    const old = new Uint8Array(windowBytes).fill(9)
    await using volume = await fixture.target(old)
    await using use = open(fixture, volume)

    await assert.rejects(use.restoreExtent(anExtent(chunk), never), (error: AgentError) => {
      assert.equal(error.code, 'CHUNK_CORRUPT')
      assert.match(error.message, /chunk backup-00001 \(offset 0, 262144 bytes\) is corrupt: /)
      const { object: named, offsetBytes, lengthBytes } = error.context
      assert.deepEqual([named, offsetBytes, lengthBytes], ['backup-00001', 0, windowBytes])
      return true
    })
    assert.deepEqual(await contentOf(volume), old)
  })

  test(`${name}: a chunk that is gone is named with its place`, async () => {
    await using fixture = await openFixture()
    const chunk = await putWindow(fixture)
    await fixture.store.deleteObject({ container, name: chunk.name }, never)
    await using volume = await fixture.target(new Uint8Array(windowBytes))
    await using use = open(fixture, volume)

    await assert.rejects(use.restoreExtent(anExtent(chunk), never), (error: AgentError) => {
      assert.equal(error.code, 'OBJECT_NOT_FOUND')
      assert.match(error.message, /chunk backup-00001 \(offset 0, 262144 bytes\) is missing: /)
      assert.equal(error.context['object'], 'backup-00001')
      return true
    })
  })

  test(`${name}: zeros are written where they are not`, async () => {
    await using fixture = await openFixture()
    await using volume = await fixture.target(new Uint8Array(windowBytes).fill(9))
    await using use = open(fixture, volume)

    const extent = { offsetBytes: blockBytes, lengthBytes: 2 * blockBytes }
    const common = { bytesHeldMax: 1024, volumeIsNew: false } as const
    const result = await use.restoreExtent({ kind: 'zeros', extent, ...common }, never)

    const expected = new Uint8Array(windowBytes).fill(9).fill(0, blockBytes, 3 * blockBytes)
    assert.deepEqual(await contentOf(volume), expected)
    assert.deepEqual(result, { fetchedBytes: 0 })
  })

  test(`${name}: tasks of many windows are all done, and a use ends after its tasks`, async () => {
    await using fixture = await openFixture()
    const content = someBytes(4 * windowBytes)
    await using volume = await fixture.source(content)
    const done: number[] = []
    {
      await using use = open(fixture, volume)
      for (const index of [0, 1, 2, 3]) {
        const task = aWindow({ offsetBytes: index * windowBytes })
        void use.storeWindow(task, () => index + 1, never).then(() => done.push(index))
      }
    }

    assert.deepEqual(done, [0, 1, 2, 3])
    assert.equal((await objectNames(fixture.store)).length, 4)
  })
}
