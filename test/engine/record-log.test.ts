import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'

import { memorySpool } from '#src/adapters/spool/memory-spool.ts'
import { openRecordLog } from '#src/engine/record-log.ts'
import type { SpoolFile } from '#src/ports/spool.ts'

async function bytesOf(file: SpoolFile): Promise<Buffer> {
  const bytes = Buffer.alloc(file.sizeBytes)
  await file.read(0, bytes)
  return bytes
}

async function fileOf(bytes: Uint8Array): Promise<SpoolFile> {
  const file = await memorySpool().open()
  await file.append(bytes)
  return file
}

async function recordsOf(file: SpoolFile): Promise<string[]> {
  const log = await openRecordLog(file)
  const records: string[] = []
  for await (const record of log.read()) records.push(record.toString('latin1'))
  return records
}

test('records are read back in their order, however many are appended at once', async () => {
  const file = await memorySpool().open()
  const log = await openRecordLog(file)
  const records = Array.from({ length: 40 }, (_, index) =>
    randomBytes(index === 7 ? 600_000 : 1 + index * 997).toString('latin1'),
  )
  await log.restart('header')

  await Promise.all(records.map((record) => log.append(Buffer.from(record, 'latin1'))))

  assert.equal((await openRecordLog(file)).header, 'header')
  assert.deepEqual(await recordsOf(file), records)
})

test('a log ends at its first record that is cut off or damaged, and goes on from there', async () => {
  const file = await memorySpool().open()
  const log = await openRecordLog(file)
  await log.restart('h')
  const ends: number[] = []
  for (const record of ['first', 'second', 'third']) {
    await log.append(Buffer.from(record))
    ends.push(file.sizeBytes)
  }
  const whole = await bytesOf(file)

  for (let size = 0; size <= whole.byteLength; size += 1) {
    const kept = ['first', 'second', 'third'].filter((_, index) => (ends[index] ?? 0) <= size)
    const cut = await fileOf(whole.subarray(0, size))
    assert.deepEqual(await recordsOf(cut), kept, `cut at ${size}`)
    if (size < 9) continue // Not even the header is there.
    await (await openRecordLog(cut)).append(Buffer.from('more'))
    assert.deepEqual(await recordsOf(cut), [...kept, 'more'], `gone on at ${size}`)
  }
  for (let at = 0; at < whole.byteLength; at += 1) {
    const damaged = Buffer.from(whole)
    damaged.writeUInt8(damaged.readUInt8(at) ^ 0x10, at)
    const kept = ['first', 'second', 'third'].filter((_, index) => (ends[index] ?? 0) <= at)
    assert.deepEqual(await recordsOf(await fileOf(damaged)), at < 9 ? [] : kept, `damaged at ${at}`)
  }
})

test('what lay behind a damaged record never counts again', async () => {
  const file = await memorySpool().open()
  const log = await openRecordLog(file)
  await log.restart('h')
  const ends: number[] = []
  for (const record of ['one', 'two', 'six', 'ten']) {
    await log.append(Buffer.from(record))
    ends.push(file.sizeBytes)
  }
  const damaged = await bytesOf(file)
  const inSecond = (ends[1] ?? 0) - 1
  damaged.writeUInt8(damaged.readUInt8(inSecond) ^ 1, inSecond)
  const left = await fileOf(damaged)

  await (await openRecordLog(left)).append(Buffer.from('new')) // As long as what it replaces.

  assert.deepEqual(await recordsOf(left), ['one', 'new'])
})
