import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Spool } from '#src/ports/spool.ts'

/** What every spool must do. `open` gives a spool of its own to each test. */
export function spoolContract(name: string, openSpool: () => Promise<Spool>): void {
  test(`${name}: what was appended is read back from any offset`, async () => {
    await using file = await (await openSpool()).open()
    const bytes = Uint8Array.from({ length: 200_000 }, (_, index) => index * 7)

    await file.append(bytes.subarray(0, 70_001))
    await file.append(bytes.subarray(70_001))
    const into = new Uint8Array(100_000)
    const count = await file.read(60_000, into)

    assert.equal(file.sizeBytes, bytes.byteLength)
    assert.equal(count, 100_000)
    assert.deepEqual(into, bytes.subarray(60_000, 160_000))
  })

  test(`${name}: a read beyond the end gives what there is`, async () => {
    await using file = await (await openSpool()).open()
    await file.append(Uint8Array.of(1, 2, 3))
    const into = new Uint8Array(5).fill(9)

    const counts = [await file.read(1, into), await file.read(3, into), await file.read(99, into)]

    assert.deepEqual(counts, [2, 0, 0])
    assert.deepEqual(into, Uint8Array.of(2, 3, 9, 9, 9))
  })

  test(`${name}: the bytes may be reused after an append`, async () => {
    await using file = await (await openSpool()).open()
    const bytes = Uint8Array.of(1, 2, 3)
    await file.append(bytes)
    bytes.fill(0)

    const into = new Uint8Array(3)
    await file.read(0, into)

    assert.deepEqual(into, Uint8Array.of(1, 2, 3))
  })

  test(`${name}: a cleared file begins anew`, async () => {
    await using file = await (await openSpool()).open()
    await file.append(Uint8Array.of(1, 2, 3))
    await file.clear()
    await file.append(Uint8Array.of(4))

    const into = new Uint8Array(3)
    const count = await file.read(0, into)

    assert.equal(file.sizeBytes, 1)
    assert.equal(count, 1)
    assert.equal(into[0], 4)
  })

  test(`${name}: files do not know of each other`, async () => {
    const spool = await openSpool()
    await using one = await spool.open()
    await using other = await spool.open()
    await one.append(Uint8Array.of(1))

    assert.equal(other.sizeBytes, 0)
  })

  test(`${name}: disposing twice is allowed`, async () => {
    const file = await (await openSpool()).open()

    await file[Symbol.asyncDispose]()
    await file[Symbol.asyncDispose]()
  })
}
