import assert from 'node:assert/strict'
import { hash, randomBytes } from 'node:crypto'
import { test } from 'node:test'

import { memoryStore } from '#src/adapters/object-store/memory-store.ts'
import { wrapStore } from '#src/adapters/object-store/wrap-store.ts'
import { memorySpool } from '#src/adapters/spool/memory-spool.ts'
import { memoryVolumes } from '#src/adapters/volumes/memory-volumes.ts'
import type { BackupPlan } from '#src/domain/backup-plan.ts'
import { AgentError, hasCode } from '#src/domain/errors.ts'
import type { PutChunk } from '#src/domain/lane-tasks.ts'
import { type BackupProgress, backupVolume } from '#src/engine/backup-volume.ts'
import { localLanes } from '#src/engine/local-lanes.ts'
import { openWindowLog } from '#src/engine/window-log.ts'
import { breathe } from '#src/lib/event-loop.ts'
import type { Lanes } from '#src/ports/lanes.ts'
import type { ObjectStore } from '#src/ports/object-store.ts'
import type { VolumeReader } from '#src/ports/volumes.ts'

import { aLaneJob, aPlan, container, never } from '../support/chains.ts'

const volumeId = '41514981-daa2-4f6e-9fca-6d3e3256440e'

function openVolume(bytes: Uint8Array): Promise<VolumeReader> {
  const volumes = memoryVolumes(new Map([[volumeId, bytes]]))
  return volumes.openSource({ volumeId, snapshotId: null }, never)
}

type Choices = {
  readonly plan?: Partial<BackupPlan>
  readonly store?: ObjectStore
  readonly parent?: Uint8Array
  readonly volume?: VolumeReader
  readonly lanes?: Lanes
  readonly lastNumber?: number
  readonly signal?: AbortSignal
}

async function backup(bytes: Uint8Array, choices: Choices = {}) {
  const store = choices.store ?? memoryStore()
  await store.ensureContainer(container, never)
  const spool = memorySpool()
  const parentDigests = choices.parent === undefined ? null : await spool.open()
  await parentDigests?.append(choices.parent ?? new Uint8Array(0))
  const plan = aPlan({ prefix: 'p', ...choices.plan })
  await using volume = choices.volume ?? (await openVolume(bytes))
  const log = await openWindowLog(await spool.open(), await spool.open(), {
    ...{ backupId: 'b', parentId: null, container, prefix: 'p', sizeBytes: volume.sizeBytes },
    windowBytes: plan.chunkSizeBytes,
    blockSizeBytes: plan.blockSizeBytes,
    zeroChunks: plan.zeroChunks,
  })
  const progress: BackupProgress[] = []
  const lanes = (choices.lanes ?? localLanes()).open(aLaneJob({ store, volume }))
  const work = { plan, lanes, parentDigests, log, lastNumber: choices.lastNumber ?? 0 }
  for await (const done of backupVolume(work, choices.signal ?? never)) progress.push(done)
  const digests = Buffer.alloc(log.digests.sizeBytes)
  await log.digests.read(0, digests)
  const noted = await Array.fromAsync(log.done())
  const chunks: PutChunk[] = noted
    .toSorted((a, b) => a.index - b.index)
    .flatMap((window) => window.chunks)
  return { progress, chunks, digests, store }
}

function digestsOf(bytes: Uint8Array, blockBytes = 512): Buffer {
  const count = Math.ceil(bytes.byteLength / blockBytes)
  return Buffer.concat(
    Array.from({ length: count }, (_, index) =>
      hash('sha256', bytes.subarray(index * blockBytes, (index + 1) * blockBytes), 'buffer'),
    ),
  )
}

const md5 = (bytes: Uint8Array) => hash('md5', bytes)

test('a full backup stores every window under its number, and digests of every block', async () => {
  const bytes = randomBytes(10_000)

  const { progress, chunks, digests } = await backup(bytes)

  assert.deepEqual(
    progress.map(({ endBytes }) => endBytes),
    [4096, 8192, 10_000],
  )
  assert.equal(progress.at(-1)?.chunkCount, 3)
  assert.deepEqual(
    chunks,
    [
      [0, 4096],
      [4096, 4096],
      [8192, 1808],
    ].map(([offsetBytes = 0, lengthBytes = 0], index) => ({
      name: `p-0000${index + 1}`,
      offsetBytes,
      lengthBytes,
      compression: 'none',
      md5: md5(bytes.subarray(offsetBytes, offsetBytes + lengthBytes)),
      storedBytes: lengthBytes,
      storedMd5: md5(bytes.subarray(offsetBytes, offsetBytes + lengthBytes)),
    })),
  )
  assert.ok(digests.equals(digestsOf(bytes)))
})

test('an incremental stores the runs of changed blocks, never over the end of a window', async () => {
  const before = randomBytes(16_384)
  const after = Buffer.from(before)
  for (const at of [0, 700, 4000, 4096, 9000]) after[at] = (after[at] ?? 0) ^ 1

  const { chunks, digests } = await backup(after, { parent: digestsOf(before) })

  assert.deepEqual(
    chunks.map(({ name, offsetBytes, lengthBytes }) => [name, offsetBytes, lengthBytes]),
    [
      ['p-00001', 0, 1024],
      ['p-00002', 3584, 512],
      ['p-00003', 4096, 512],
      ['p-00004', 8704, 512],
    ],
  )
  assert.ok(digests.equals(digestsOf(after)))
})

test('an incremental of an unchanged volume stores nothing but its digests', async () => {
  const bytes = randomBytes(16_384)

  const { chunks, digests, store } = await backup(bytes, { parent: digestsOf(bytes) })

  assert.deepEqual(chunks, [])
  assert.ok(digests.equals(digestsOf(bytes)))
  assert.deepEqual(await store.listPage(container, '', '', never), [])
})

test('a volume that grew is compared as far as its parent goes', async () => {
  const bytes = randomBytes(6000)

  const { chunks } = await backup(bytes, { parent: digestsOf(bytes.subarray(0, 1024)) })

  assert.deepEqual(
    chunks.map(({ offsetBytes, lengthBytes }) => [offsetBytes, lengthBytes]),
    [
      [1024, 3072],
      [4096, 1904],
    ],
  )
})

test('all-zero windows of a full backup are the same small object', async () => {
  const bytes = Buffer.alloc(14_000)
  bytes[5000] = 1

  const { chunks, store } = await backup(bytes, { plan: { compression: 'gzip' } })

  const entries = await store.listPage(container, '', '', never)
  assert.equal(chunks.length, 4)
  assert.equal(entries[0]?.md5, entries[2]?.md5)
  for (const chunk of chunks) {
    const end = chunk.offsetBytes + chunk.lengthBytes
    assert.equal(chunk.md5, md5(bytes.subarray(chunk.offsetBytes, end)))
    assert.equal(chunk.compression, 'gzip')
  }
})

test('sparse leaves the zeros of a full backup out, and those of an incremental in', async () => {
  const bytes = Buffer.alloc(12_288)
  bytes[5000] = 1
  const plan = { zeroChunks: 'sparse' as const }

  const full = await backup(bytes, { plan })
  const zeroed = Buffer.alloc(12_288)
  const incremental = await backup(zeroed, { plan, parent: full.digests })

  const extents = (run: typeof full) => run.chunks.map(({ offsetBytes }) => offsetBytes)
  assert.deepEqual(extents(full), [4096])
  assert.equal(full.chunks[0]?.name, 'p-00001')
  assert.deepEqual(extents(incremental), [4608])
  assert.ok(full.digests.equals(digestsOf(bytes)))
})

test('what changed in a window is sent several objects at once, and not too many', async () => {
  let inFlight = 0
  let most = 0
  const store = wrapStore(memoryStore(), async ({ method }, run) => {
    if (method !== 'putObject') return run()
    inFlight += 1
    most = Math.max(most, inFlight)
    for (let turn = 0; turn < 10; turn += 1) await breathe()
    inFlight -= 1
    return run()
  })
  const before = randomBytes(100_000)
  const after = Buffer.from(before)
  for (let at = 0; at < after.byteLength; at += 1024) after[at] = (after[at] ?? 0) ^ 1

  const plan = { chunkSizeBytes: 32_768, compression: 'none' as const }
  await backup(after, { store, parent: digestsOf(before), plan })

  assert.ok(most > 3 && most <= 8, `${most} small chunks at once`)
})

test('what is being uploaded stays as it is until the store has taken it', async () => {
  const bytes = randomBytes(200_000)
  const store = memoryStore()
  const slow: ObjectStore = {
    ...store,
    async putObject(id, body, signal) {
      for (let turn = 0; turn < 20; turn++) await breathe()
      return store.putObject(id, body, signal)
    },
  }

  const { chunks } = await backup(bytes, { store: slow, plan: { compression: 'none' } })

  for (const { name, md5 } of await store.listPage(container, '', '', never)) {
    assert.equal(md5, chunks.find((chunk) => chunk.name === name)?.md5)
  }
})

test('the first failure ends a backup, with nothing left running and the lane free', async () => {
  let calls = 0
  let running = 0
  const store = wrapStore(memoryStore(), async ({ method }, run, signal) => {
    if (method !== 'putObject') return run()
    calls += 1
    running += 1
    const isFifth = calls === 5
    try {
      for (let turn = 0; turn < 5; turn++) await breathe()
      if (isFifth) throw new AgentError('STORE_FULL', 'no room')
      signal.throwIfAborted()
      return await run()
    } finally {
      running -= 1
    }
  })
  await using lanes = localLanes()

  await assert.rejects(backup(randomBytes(300_000), { store, lanes }), (error) =>
    hasCode(error, 'STORE_FULL'),
  )

  assert.equal(running, 0)
  await backup(randomBytes(300_000), { store, lanes })
})

test('a backup that is told to stop ends with the reason', async () => {
  const stop = new AbortController()
  const store = wrapStore(memoryStore(), ({ method }, run, signal) => {
    if (method !== 'putObject') return run()
    stop.abort(new AgentError('OPERATION_CANCELLED', 'stopped'))
    return new Promise((_, reject) => reject(signal.reason))
  })

  const work = backup(randomBytes(300_000), { store, signal: stop.signal })

  await assert.rejects(work, (error) => hasCode(error, 'OPERATION_CANCELLED'))
})

test('a window that is done again, since its lane died, leaves no other objects', async () => {
  const before = randomBytes(16_384)
  const after = Buffer.from(before)
  for (const at of [0, 700, 4000, 4096, 9000]) after[at] = (after[at] ?? 0) ^ 1
  const once = localLanes()
  const twice: Lanes = {
    ...once,
    open(job) {
      const use = once.open(job)
      return {
        ...use,
        async storeWindow(...asked) {
          await use.storeWindow(...asked)
          return use.storeWindow(...asked)
        },
      }
    },
  }

  const { chunks, store } = await backup(after, { parent: digestsOf(before), lanes: twice })

  const there = await store.listPage(container, '', '', never)
  assert.equal(chunks.length, 4)
  assert.deepEqual(
    there.map(({ name }) => name),
    chunks.map(({ name }) => name),
  )
})

test('a volume that ends too early ends the backup', async () => {
  const volume = await openVolume(randomBytes(5000))
  const longer: VolumeReader = { ...volume, sizeBytes: 9000 }

  const work = backup(Buffer.alloc(0), { volume: longer, plan: { chunkSizeBytes: 8192 } })

  await assert.rejects(work, (error) => hasCode(error, 'VOLUME_CHANGED'))
})
