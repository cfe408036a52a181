import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import { memoryVolumes } from '#src/adapters/volumes/memory-volumes.ts'
import { sparseWriter } from '#src/engine/sparse-write.ts'
import type { VolumeWriter } from '#src/ports/volumes.ts'

import { never } from '../support/chains.ts'

const volumeId = '3220c896-be94-4fa5-9e6f-c9c39554130b'
const mebibyte = 1_048_576

/** A volume that cannot punch holes unless it is said, and the extents that were written or punched. */
async function aTarget(t: TestContext, bytes: Uint8Array, canPunch = false) {
  const volumes = memoryVolumes(new Map([[volumeId, bytes]]))
  const volume = await volumes.openTarget(volumeId, never)
  const [written, punched]: [number[], number[]] = [[], []]
  const target: VolumeWriter = {
    ...volume,
    async write(offsetBytes, data) {
      written.push(offsetBytes, data.byteLength)
      await volume.write(offsetBytes, data)
    },
    async punch(extent) {
      if (!canPunch) return false
      punched.push(extent.offsetBytes, extent.lengthBytes)
      return volume.punch(extent)
    },
  }
  t.after(() => volume[Symbol.asyncDispose]())
  return { target, bytes, written, punched }
}

const old = (mebibytes: number) => new Uint8Array(mebibytes * mebibyte).fill(9)

test('zeros that are there are not written again', async (t) => {
  const { target, written } = await aTarget(t, new Uint8Array(4 * mebibyte))
  const data = new Uint8Array(2 * mebibyte).fill(1, 100_000, 100_001)

  await sparseWriter(target, true, null).write(mebibyte, data, never)

  assert.deepEqual(written, [mebibyte + 65_536, 65_536])
})

for (const volumeIsNew of [true, false]) {
  const what = volumeIsNew ? 'a new' : 'an old'
  test(`no old bytes stay where ${what} volume should have zeros`, async (t) => {
    const { target, bytes } = await aTarget(t, old(4))
    bytes.fill(0, 2 * mebibyte, 3 * mebibyte)
    const data = new Uint8Array(3 * mebibyte - 5).fill(1, 0, 10)

    await sparseWriter(target, volumeIsNew, null).write(mebibyte, data, never)

    const expected = old(4)
    expected.set(data, mebibyte)
    assert.ok(Buffer.from(bytes).equals(expected))
  })
}

test('one look that finds old bytes is enough where the volume is not new', async (t) => {
  for (const [volumeIsNew, count] of [
    [true, 1],
    [false, 3],
  ] as const) {
    const { target, written } = await aTarget(t, new Uint8Array(3 * mebibyte).fill(9, 0, 1))
    const extent = { offsetBytes: 0, lengthBytes: 3 * mebibyte }

    await sparseWriter(target, volumeIsNew, null).writeZeros(extent, never)

    assert.equal(written.length / 2, count)
  }
})

test('long runs become holes where the device can, short ones do not', async (t) => {
  const { target, bytes, written, punched } = await aTarget(t, old(4), true)
  const data = new Uint8Array(4 * mebibyte)
  data.fill(1, 0, 65_536)
  data.fill(1, 3 * mebibyte, 3 * mebibyte + 65_536)

  await sparseWriter(target, true, null).write(0, data, never)

  assert.deepEqual(punched, [65_536, 3 * mebibyte - 65_536])
  assert.deepEqual(written.slice(-2), [3 * mebibyte + 65_536, mebibyte - 65_536])
  assert.ok(Buffer.from(bytes).equals(data))
})

test('what cannot be read is written', async (t) => {
  const { target, bytes } = await aTarget(t, old(1))
  const unreadable = { ...target, read: () => Promise.reject(new Error('a bad sector')) }
  const extent = { offsetBytes: 0, lengthBytes: 4096 }

  await sparseWriter(unreadable, true, null).writeZeros(extent, never)

  assert.equal(bytes.lastIndexOf(0), 4095)
})

test('nothing is written after an abort', async (t) => {
  const { target, written } = await aTarget(t, old(1))
  const reason = new Error('enough')
  const signal = AbortSignal.abort(reason)
  const writer = sparseWriter(target, true, null)

  await assert.rejects(writer.write(0, old(1), signal), (error) => error === reason)
  await assert.rejects(writer.write(0, new Uint8Array(4096), signal), (error) => error === reason)
  assert.deepEqual(written, [])
})
