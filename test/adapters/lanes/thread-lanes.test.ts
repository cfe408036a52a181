import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'

import { bytesNeeded } from '#src/adapters/lanes/lane-memory.ts'
import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { memoryVolumes } from '#src/adapters/volumes/memory-volumes.ts'
import { AgentError } from '#src/domain/errors.ts'
import type { AccessSource } from '#src/ports/identity.ts'
import type { LaneJob } from '#src/ports/lanes.ts'

import { lanesContract } from '../../contracts/lanes.ts'
import { aLaneJob, never } from '../../support/chains.ts'
import { type ThreadBench, threadBench } from '../../support/lane-bench.ts'
import { aWindow, objectNames, someBytes, windowBytes } from '../../support/lane-tasks.ts'

const dyingLane = new URL('../../support/dying-lane.ts', import.meta.url)
const askingLane = new URL('../../support/asking-lane.ts', import.meta.url)
const windowNeeds = bytesNeeded({ kind: 'window', window: aWindow() })

lanesContract('threadLanes', () => threadBench())

/** Four windows of one volume at once; tells how many of them run, and how many did at most. */
async function fourWindows(bench: ThreadBench, fields: Partial<LaneJob> = {}) {
  const volume = await bench.source(someBytes(4 * windowBytes))
  const use = bench.lanes.open({ ...aLaneJob({ store: bench.store, volume }), ...fields })
  const seen = { running: 0, most: 0, done: 0 }
  const tasks = [0, 1, 2, 3].map(async (index) => {
    const task = aWindow({ offsetBytes: index * windowBytes })
    const numbers = () => {
      seen.running += 1
      seen.most = Math.max(seen.most, seen.running)
      return index + 1
    }
    await use.storeWindow(task, numbers, never)
    seen.running -= 1
    seen.done += 1
  })
  const end = async () => {
    await Promise.all(tasks)
    await use[Symbol.asyncDispose]()
    await volume[Symbol.asyncDispose]()
  }
  return { seen, end }
}

async function until(isSo: () => boolean): Promise<void> {
  for (let left = 2000; !isSo(); left -= 1) {
    assert.ok(left > 0, 'it never came to that')
    await delay(10)
  }
}

/** Lets whoever could begin do so, while no call to the store goes on. */
const settled = () => delay(300)

test('a job has no more chunks in hand than it may', async () => {
  await using bench = await threadBench({ workers: 4 })
  bench.closeStore()
  const { seen, end } = await fourWindows(bench, { chunksMax: 2 })

  await until(() => seen.running === 2)
  await settled()
  bench.openStore()
  await end()

  assert.deepEqual(seen, { running: 0, most: 2, done: 4 })
})

test('no more lanes work than there are cores for', async () => {
  await using bench = await threadBench({ workers: 2 })
  bench.closeStore()
  const { seen, end } = await fourWindows(bench)

  await until(() => seen.running === 2)
  await settled()
  bench.openStore()
  await end()

  assert.equal(seen.most, 2)
})

test('lanes never hold more than memory_max in buffers', async () => {
  for (const [memoryMax, most] of [
    [2 * windowNeeds, 2],
    [2 * windowNeeds - 1, 1],
    [windowNeeds, 1],
  ] as const) {
    await using bench = await threadBench({ workers: 3, memoryMax })
    bench.closeStore()
    const { seen, end } = await fourWindows(bench)

    await until(() => seen.running === most)
    await settled()
    bench.openStore()
    await end()

    assert.deepEqual(seen, { running: 0, most, done: 4 })
  }
})

test('what needs more than memory_max by itself is done alone', async () => {
  await using bench = await threadBench({ workers: 3, memoryMax: 1 })
  bench.closeStore()
  const first = await fourWindows(bench)
  const second = await fourWindows(bench, { id: 'other', projectId: 'other' })

  await until(() => first.seen.running === 1)
  await settled()
  assert.equal(second.seen.running, 0)
  bench.openStore()
  await Promise.all([first.end(), second.end()])

  assert.deepEqual([first.seen.most, second.seen.most], [1, 1])
})

test('lanes without work give their memory to the one that needs it', async () => {
  await using bench = await threadBench({ workers: 2, memoryMax: 2 * windowNeeds })
  const small = await fourWindows(bench)
  await small.end()

  await using volume = await bench.source(someBytes(4 * windowBytes))
  await using use = bench.lanes.open(aLaneJob({ store: bench.store, volume }))
  const { chunks } = await use.storeWindow(
    aWindow({ lengthBytes: 2 * windowBytes }),
    () => 9,
    never,
  )

  assert.equal(chunks.length, 1)
})

test('a task that waits for the store ends at once when it is aborted', async () => {
  await using bench = await threadBench()
  bench.closeStore()
  await using volume = await bench.source(someBytes())
  await using use = bench.lanes.open(aLaneJob({ store: bench.store, volume }))
  const aborting = new AbortController()
  const reason = new Error('enough')
  const asked = Promise.withResolvers<void>()
  const numbers = () => {
    asked.resolve()
    return 1
  }

  const task = use.storeWindow(aWindow(), numbers, aborting.signal)
  await asked.promise
  await delay(50)
  aborting.abort(reason)

  await assert.rejects(task, (error) => error === reason)
  bench.openStore()
  assert.deepEqual(await objectNames(bench.store), [])
})

test('lanes that end leave nobody waiting', async () => {
  await using bench = await threadBench({ workers: 1 })
  await using volume = await bench.source(someBytes())
  await using use = bench.lanes.open(aLaneJob({ store: bench.store, volume }))
  bench.closeStore()
  const task = () => use.storeWindow(aWindow(), () => 1, never)
  const tasks = [task(), task(), task()]

  await settled()
  await bench.lanes[Symbol.asyncDispose]()

  for (const one of [...tasks, task()]) await assert.rejects(one, { code: 'AGENT_STOPPING' })
})

test('a lane that dies loses only its chunk, which another lane does', async () => {
  const deaths = new Int32Array(new SharedArrayBuffer(4)).fill(1)
  const data = { deaths: deaths.buffer }
  await using bench = await threadBench({ entry: dyingLane, data, workers: 2 })
  const { seen, end } = await fourWindows(bench)

  await end()

  const lost = bench.log.lines.filter(({ level }) => level === 'error')
  assert.equal(seen.done, 4)
  assert.equal((await objectNames(bench.store)).length, 4)
  assert.deepEqual(
    lost.map(({ message }) => message),
    ['a lane died; what it had in hand is done by another one'],
  )
})

test('a task whose lanes die again and again is given up, and the lanes are not', async () => {
  const deaths = new Int32Array(new SharedArrayBuffer(4)).fill(2)
  const data = { deaths: deaths.buffer }
  await using bench = await threadBench({ entry: dyingLane, data })
  await using volume = await bench.source(someBytes())
  await using use = bench.lanes.open(aLaneJob({ store: bench.store, volume }))

  const task = use.storeWindow(aWindow(), () => 1, never)

  await assert.rejects(task, { code: 'ASSERTION_FAILED', message: 'the lane of a task died twice' })
  const { chunks } = await use.storeWindow(aWindow(), () => 2, never)
  assert.equal(chunks.length, 1)
})

test('a volume that only this thread has is refused', async () => {
  await using bench = await threadBench()
  const volumeId = '3220c896-be94-4fa5-9e6f-c9c39554130b'
  const volumes = memoryVolumes(new Map([[volumeId, someBytes()]]))
  await using volume = await volumes.openSource({ volumeId, snapshotId: null }, never)
  await using use = bench.lanes.open(aLaneJob({ store: bench.store, volume }))

  const task = use.storeWindow(aWindow(), () => 1, never)

  await assert.rejects(task, { code: 'ASSERTION_FAILED', message: /is not shared/ })
})

test('who gave the task answers what its lane asks for the store, and hears of its retries', async () => {
  await using bench = await threadBench({ entry: askingLane })
  await using volume = await bench.source(someBytes())
  const url = 'https://swift/v1/AUTH_1'
  const access: AccessSource = {
    access: async () => ({ url, token: 'first' }),
    async renew({ token }) {
      if (token === 'first') return { url, token: 'second' }
      throw new AgentError('TOKEN_EXPIRED', `not again: ${token}`, { status: 401 })
    },
  }
  const log = recordingLog()
  const job = { ...aLaneJob({ store: bench.store, volume }), log }
  await using use = bench.lanes.open({ ...job, access })
  await using ofOthers = bench.lanes.open({
    ...job,
    access: { ...access, access: async () => ({ url, token: 'old' }) },
  })
  await using without = bench.lanes.open(job)

  const { digests } = await use.storeWindow(aWindow(), () => 1, never)
  assert.equal(Buffer.from(digests).toString(), 'first,second')
  await assert.rejects(
    ofOthers.storeWindow(aWindow(), () => 1, never),
    {
      code: 'TOKEN_EXPIRED',
      message: 'not again: old',
      context: { status: 401 },
    },
  )
  const none = await without.storeWindow(aWindow(), () => 1, never)
  assert.equal(Buffer.from(none.digests).toString(), ',')
  assert.deepEqual(log.lines[0], {
    level: 'warn',
    message: 'store call failed, trying again',
    fields: { call: 'put it', attempt_number: 1 },
  })
})
