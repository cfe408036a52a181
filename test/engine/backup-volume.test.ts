import assert from 'node:assert/strict'
import { hash, randomBytes } from 'node:crypto'
import { test } from 'node:test'

import { memoryStore } from '#src/adapters/object-store/memory-store.ts'
import { wrapStore } from '#src/adapters/object-store/wrap-store.ts'
import { memorySpool } from '#src/adapters/spool/memory-spool.ts'
import { memoryVolumes } from '#src/adapters/volumes/memory-volumes.ts'
import type { BackupPlan } from '#src/domain/backup-plan.ts'
import { AgentError, hasCode } from '#src/domain/errors.ts'
import { backupVolume, type WindowDone } from '#src/engine/backup-volume.ts'
import { type ByteBudget, byteBudget } from '#src/lib/byte-budget.ts'
import { breathe } from '#src/lib/event-loop.ts'
import type { ObjectStore } from '#src/ports/object-store.ts'
import type { VolumeReader } from '#src/ports/volumes.ts'

import { aPlan, container, never } from '../support/chains.ts'

const volumeId = '41514981-daa2-4f6e-9fca-6d3e3256440e'

function openVolume(bytes: Uint8Array): Promise<VolumeReader> {
  const volumes = memoryVolumes(new Map([[volumeId, bytes]]))
  return volumes.openSource({ volumeId, snapshotId: null }, never)
}

type Choices = {
  readonly plan?: Partial<BackupPlan>
  readonly store?: ObjectStore
  readonly parent?: Uint8Array
  readonly budget?: ByteBudget
  readonly signal?: AbortSignal
}

async function backup(bytes: Uint8Array, choices: Choices = {}) {
  const store = choices.store ?? memoryStore()
  await store.ensureContainer(container, never)
  const spool = memorySpool()
  const own = await spool.open()
  const parent = choices.parent === undefined ? null : await spool.open()
  await parent?.append(choices.parent ?? new Uint8Array(0))
  const plan = aPlan({ prefix: 'p', ...choices.plan })
  const budget = choices.budget ?? byteBudget(1_048_576)
  const windows: WindowDone[] = []
  const digests = { parent, own }
  await using volume = await openVolume(bytes)
  const signal = choices.signal ?? never
  for await (const window of backupVolume(volume, store, plan, digests, budget, signal)) {
    windows.push(window)
  }
  const packed = Buffer.alloc(own.sizeBytes)
  await own.read(0, packed)
  return { windows, chunks: windows.flatMap(({ chunks }) => chunks), digests: packed, store }
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

  const { windows, chunks, digests } = await backup(bytes)

  assert.deepEqual(
    windows.map(({ endBytes }) => endBytes),
    [4096, 8192, 10_000],
  )
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

test('no more bytes are uploaded at once than whole chunks are allowed', async () => {
  let inFlight = 0
  let most = 0
  const store = wrapStore(memoryStore(), async ({ method }, run) => {
    if (method !== 'putObject') return run()
    inFlight += 1
    most = Math.max(most, inFlight)
    await breathe()
    await breathe()
    inFlight -= 1
    return run()
  })
  await backup(randomBytes(100_000), { store, plan: { uploadsMax: 3, compression: 'none' } })
  assert.equal(most, 3)

  most = 0
  const before = randomBytes(100_000)
  const after = Buffer.from(before)
  for (let at = 0; at < after.byteLength; at += 1024) after[at] = (after[at] ?? 0) ^ 1
  await backup(after, { store, parent: digestsOf(before), plan: { uploadsMax: 3 } })
  assert.ok(most > 3 && most <= 32, `${most} small chunks at once`)
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
  const budget = byteBudget(3 * 4096) // Every buffer is needed again.

  const { chunks } = await backup(bytes, { store: slow, budget, plan: { compression: 'none' } })

  for (const { name, md5 } of await store.listPage(container, '', '', never)) {
    assert.equal(md5, chunks.find((chunk) => chunk.name === name)?.md5)
  }
})

test('the first failure ends a backup, with nothing left running and nothing taken', async () => {
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
  const budget = byteBudget(100_000)

  await assert.rejects(backup(randomBytes(300_000), { store, budget }), (error) =>
    hasCode(error, 'STORE_FULL'),
  )

  assert.equal(running, 0)
  using all = await budget.take(100_000, AbortSignal.timeout(1000))
  assert.ok(all)
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

test('a volume that ends too early ends the backup', async () => {
  const volume = await openVolume(randomBytes(5000))
  const longer: VolumeReader = { ...volume, sizeBytes: 9000 }
  const own = await memorySpool().open()
  const store = memoryStore()
  await store.ensureContainer(container, never)
  const digests = { parent: null, own }
  const work = backupVolume(longer, store, aPlan({ prefix: 'p' }), digests, byteBudget(1e6), never)

  await assert.rejects(Array.fromAsync(work), (error) => hasCode(error, 'VOLUME_CHANGED'))
})
