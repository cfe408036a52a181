import assert from 'node:assert/strict'
import { test } from 'node:test'

import { memorySpool } from '#src/adapters/spool/memory-spool.ts'
import { checkAgainstListing, chunkNumber, namedNumbers } from '#src/engine/resume-backup.ts'
import { openWindowLog } from '#src/engine/window-log.ts'
import type { ObjectEntry } from '#src/ports/object-store.ts'

import { aPutChunk, aResult, doneIndexes, layout } from '../support/window-logs.ts'

const { prefix } = layout

/** Windows 0 to 2 are done, with the chunks 1, 2 and 4, and 3. */
async function aLog() {
  const spool = memorySpool()
  const log = await openWindowLog(await spool.open(), await spool.open(), layout)
  await log.add(0, aResult(0, 1))
  await log.add(1, aResult(1, 2, 4))
  await log.add(2, aResult(2, 3))
  return log
}

function entryOf(number: number, fields: Partial<ObjectEntry> = {}): ObjectEntry {
  const { name, storedBytes, storedMd5 } = aPutChunk(number, 0)
  return { name, sizeBytes: storedBytes, md5: storedMd5, ...fields }
}

async function* listing(...entries: readonly ObjectEntry[]) {
  yield* entries
}

test('what the store has as it was sent is kept', async () => {
  const log = await aLog()

  const last = await checkAgainstListing(log, listing(...[1, 2, 3, 4].map((n) => entryOf(n))))

  assert.equal(last, 4)
  assert.deepEqual(doneIndexes(log), [0, 1, 2])
  assert.equal(log.count(), 4)
})

for (const [what, entries, kept] of [
  ['is missing', [entryOf(1), entryOf(2), entryOf(3)], [0, 2]],
  ['has another size', [entryOf(1), entryOf(2, { sizeBytes: 1 }), entryOf(3), entryOf(4)], [0, 2]],
  [
    'has another md5',
    [entryOf(1, { md5: 'ff'.repeat(16) }), entryOf(2), entryOf(3), entryOf(4)],
    [1, 2],
  ],
  ['is the only one there', [entryOf(3)], [2]],
] as const) {
  test(`a window is done again where one of its chunks ${what}`, async () => {
    const log = await aLog()

    const last = await checkAgainstListing(log, listing(...entries))

    assert.deepEqual(doneIndexes(log), kept)
    assert.equal(last, 4) // Also numbers whose objects are gone are not used again.
  })
}

test('a store that keeps no md5 is believed by the size', async () => {
  const log = await aLog()

  const entries = [1, 2, 3, 4].map((number) => entryOf(number, { md5: null }))
  await checkAgainstListing(log, listing(...entries))

  assert.deepEqual(doneIndexes(log), [0, 1, 2])
})

test('objects that nobody noted keep their numbers, and other names have none', async () => {
  const log = await aLog()
  const others = [`${prefix}_metadata`, `${prefix}_sha256file`, `${prefix}-`, `${prefix}-x0009`]
  const entries = [
    ...[1, 2, 3, 4, 5000].map((number) => entryOf(number)),
    ...others.map((name) => ({ name, sizeBytes: 1, md5: null })),
    { name: `${prefix}-999999999999999`, sizeBytes: 1, md5: null },
  ]

  assert.equal(await checkAgainstListing(log, listing(...entries)), 5000)
  assert.deepEqual(doneIndexes(log), [0, 1, 2])
})

test('a number is the digits behind the prefix', () => {
  assert.equal(chunkNumber(`${prefix}-00012`, prefix), 12)
  assert.equal(chunkNumber(`${prefix}-123456`, prefix), 123_456)
  for (const name of [`${prefix}-0012`, `${prefix}_metadata`, `x${prefix}-00012`, prefix]) {
    assert.equal(chunkNumber(name, prefix), null, name)
  }
})

test('the numbers that the metadata will name are those of the log', async () => {
  const log = await aLog()
  await log.add(3, aResult(3, 100_000))

  const isNamed = await namedNumbers(log)

  const numbers = [0, 1, 2, 3, 4, 5, 99_999, 100_000, 100_001, 5_000_000]
  assert.deepEqual(numbers.filter(isNamed), [1, 2, 3, 4, 100_000])
})
