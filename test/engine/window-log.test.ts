import assert from 'node:assert/strict'
import { test } from 'node:test'

import { memorySpool } from '#src/adapters/spool/memory-spool.ts'
import { openWindowLog, type WindowLog } from '#src/engine/window-log.ts'

import { aPutChunk, aResult, doneIndexes, layout } from '../support/window-logs.ts'

async function files() {
  const spool = memorySpool()
  return { file: await spool.open(), digests: await spool.open() }
}

async function namesOf(log: WindowLog): Promise<string[]> {
  return (await Array.fromAsync(log.read())).map(({ name }) => name.slice(-5))
}

test('a new log has nothing that is done', async () => {
  const { file, digests } = await files()
  const log = await openWindowLog(file, digests, layout)

  assert.equal(log.windowCount, 5)
  assert.deepEqual([log.count(), log.doneBytes(), doneIndexes(log)], [0, 0, []])
  assert.deepEqual(await Array.fromAsync(log.done()), [])
})

test('what was added is there again, with its digests in their place', async () => {
  const { file, digests } = await files()
  const before = await openWindowLog(file, digests, layout)
  await before.add(4, aResult(4, 1))
  await before.add(1, aResult(1, 2, 3))
  await before.add(2, aResult(2))

  const log = await openWindowLog(file, digests, layout)

  assert.deepEqual(doneIndexes(log), [1, 2, 4])
  assert.equal(log.doneBytes(), 2 * 4096 + 1536)
  assert.equal(log.count(), 3)
  const done = await Array.fromAsync(log.done())
  assert.deepEqual(
    done.map(({ index, chunks }) => [index, chunks]),
    [
      [4, [aPutChunk(1, 4 * 4096)]],
      [1, [aPutChunk(2, 4096), aPutChunk(3, 4096 + 1024)]],
      [2, []],
    ],
  )
  const found = new Uint8Array(64)
  assert.equal(await log.digests.read(4 * 4 * 32, found), 64)
  assert.deepEqual(found, aResult(4).digests)
})

test('the chunks are read in volume order, in whatever order they were added', async () => {
  const { file, digests } = await files()
  const log = await openWindowLog(file, digests, layout)
  await log.add(3, aResult(3, 1, 2))
  await log.add(0, aResult(0, 4))
  await log.add(4, aResult(4, 3))
  await log.add(2, aResult(2))
  await log.add(1, aResult(1, 5, 6))

  const names = ['00004', '00005', '00006', '00001', '00002', '00003']
  assert.deepEqual(await namesOf(log), names)
  assert.deepEqual(await namesOf(await openWindowLog(file, digests, layout)), names)
  const offsets = (await Array.fromAsync(log.read())).map(({ offsetBytes }) => offsetBytes)
  assert.deepEqual(
    offsets,
    offsets.toSorted((a, b) => a - b),
  )
})

test('a window whose digests are damaged, or were never written, is done again', async () => {
  const { file, digests } = await files()
  const before = await openWindowLog(file, digests, layout)
  await before.add(0, aResult(0, 1))
  await before.add(1, aResult(1, 2))
  await before.add(3, aResult(3, 3))
  await digests.write(4 * 32 + 50, Uint8Array.of(255))

  const log = await openWindowLog(file, digests, layout)

  assert.deepEqual(doneIndexes(log), [0, 3])
  assert.equal(log.count(), 2)
  assert.equal(log.doneBytes(), 2 * 4096)
  await digests.clear()
  const emptied = await openWindowLog(file, digests, layout)
  assert.deepEqual(doneIndexes(emptied), [])
})

test('a window that was forgotten may be added again', async () => {
  const { file, digests } = await files()
  const log = await openWindowLog(file, digests, layout)
  for (const index of [0, 1, 2, 3, 4]) await log.add(index, aResult(index, index + 1))

  await log.keepOnly(async ({ index }) => index !== 1)
  assert.deepEqual(doneIndexes(log), [0, 2, 3, 4])
  assert.equal(log.count(), 4)
  await log.add(1, aResult(1, 9))

  const names = ['00001', '00009', '00003', '00004', '00005']
  assert.deepEqual(await namesOf(log), names)
  const again = await openWindowLog(file, digests, layout)
  assert.deepEqual(await namesOf(again), names)
  assert.equal(again.doneBytes(), layout.sizeBytes)
})

test('a window that is there twice counts once', async () => {
  const { file, digests } = await files()
  const before = await openWindowLog(file, digests, layout)
  await before.add(0, aResult(0, 1))
  await before.add(0, aResult(0, 2))

  const log = await openWindowLog(file, digests, layout)

  assert.deepEqual([log.count(), log.doneBytes()], [1, 4096])
  assert.equal((await Array.fromAsync(log.done())).length, 1)
})

for (const [what, other] of [
  ['another backup', { backupId: 'c3d0ab0e-3f0d-4c8e-b6a5-5a8d1b2f0f11' }],
  ['another parent', { parentId: 'c3d0ab0e-3f0d-4c8e-b6a5-5a8d1b2f0f11' }],
  ['another place', { prefix: 'volume_1/20261123002624/az_nova_backup_2' }],
  ['another size', { sizeBytes: 4 * 4096 }],
  ['other windows', { windowBytes: 8192 }],
  ['other blocks', { blockSizeBytes: 512 }],
  ['other zeros', { zeroChunks: 'sparse' }],
] as const) {
  test(`the log of ${what} is forgotten, digests and all`, async () => {
    const { file, digests } = await files()
    const before = await openWindowLog(file, digests, layout)
    await before.add(0, aResult(0, 1))

    const log = await openWindowLog(file, digests, { ...layout, ...other })

    assert.equal(log.isDone(0), false)
    assert.deepEqual([log.count(), digests.sizeBytes], [0, 0])
  })
}
