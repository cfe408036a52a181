import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Spool } from '#src/ports/spool.ts'

const jobId = '1bbbfe0c-6ba2-4a12-8f10-0d0a5f2f9b6c'
const otherJobId = 'c3d0ab0e-3f0d-4c8e-b6a5-5a8d1b2f0f11'

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

  test(`${name}: what is written anywhere is there, and zeros are before it`, async () => {
    await using file = await (await openSpool()).open()
    await file.append(Uint8Array.of(1, 2, 3))

    await file.write(1, Uint8Array.of(9))
    await file.write(150_000, Uint8Array.of(7, 8))
    await file.append(Uint8Array.of(5))
    await file.sync()
    const whole = new Uint8Array(150_003)
    const count = await file.read(0, whole)

    const expected = new Uint8Array(150_003)
    expected.set([1, 9, 3])
    expected.set([7, 8, 5], 150_000)
    assert.equal(file.sizeBytes, 150_003)
    assert.equal(count, 150_003)
    assert.deepEqual(whole, expected)
  })

  test(`${name}: a cleared file has zeros before what is written far on`, async () => {
    await using file = await (await openSpool()).open()
    await file.append(new Uint8Array(1000).fill(1))
    await file.clear()
    await file.write(500, Uint8Array.of(2))

    const into = new Uint8Array(501).fill(9)
    await file.read(0, into)

    assert.equal(into.indexOf(1), -1)
    assert.equal(into.indexOf(9), -1)
    assert.equal(into[500], 2)
  })

  test(`${name}: a kept file is as the last open left it, and each job has its own`, async () => {
    const spool = await openSpool()
    {
      await using file = await spool.keep(jobId, 'digests')
      assert.equal(file.sizeBytes, 0)
      await file.append(Uint8Array.of(1, 2, 3))
      await file.sync()
    }

    await using again = await spool.keep(jobId, 'digests')
    await using other = await spool.keep(jobId, 'entries')
    await using others = await spool.keep(otherJobId, 'digests')
    const into = new Uint8Array(3)
    await again.append(Uint8Array.of(4))
    await again.read(1, into)

    assert.equal(again.sizeBytes, 4)
    assert.deepEqual(into, Uint8Array.of(2, 3, 4))
    assert.equal(other.sizeBytes, 0)
    assert.equal(others.sizeBytes, 0)
  })

  test(`${name}: what is forgotten of a job is gone, and that of others is not`, async () => {
    const spool = await openSpool()
    const sizes = async () => {
      await using file = await spool.keep(jobId, 'digests')
      await using other = await spool.keep(otherJobId, 'digests')
      return [file.sizeBytes, other.sizeBytes]
    }
    const fill = async () => {
      await using file = await spool.keep(jobId, 'digests')
      await using other = await spool.keep(otherJobId, 'digests')
      await file.write(0, Uint8Array.of(1))
      await other.write(0, Uint8Array.of(1, 2))
    }

    await fill()
    await spool.forget(jobId)
    await spool.forget(jobId)
    assert.deepEqual(await sizes(), [0, 2])
    await fill()
    await spool.forgetAllBut(new Set([jobId, '00000000-0000-4000-8000-000000000000']))
    assert.deepEqual(await sizes(), [1, 0])
    await spool.forgetAllBut(new Set())
    assert.deepEqual(await sizes(), [0, 0])
  })

  test(`${name}: there is nothing to forget at first`, async () => {
    const spool = await openSpool()

    await spool.forget(jobId)
    await spool.forgetAllBut(new Set([jobId]))
  })

  test(`${name}: a kept file is open once at a time`, async () => {
    const spool = await openSpool()
    const file = await spool.keep(jobId, 'digests')

    await assert.rejects(spool.keep(jobId, 'digests'), { code: 'ASSERTION_FAILED' })
    await file[Symbol.asyncDispose]()
    await file[Symbol.asyncDispose]()
    await using _again = await spool.keep(jobId, 'digests')
  })

  test(`${name}: an id or a name that would lead elsewhere says ASSERTION_FAILED`, async () => {
    const spool = await openSpool()
    const refused = { code: 'ASSERTION_FAILED' }

    for (const bad of ['', '.', '..', '../x', `${jobId}/..`, `${jobId}\0`, '/etc']) {
      await assert.rejects(spool.keep(bad, 'digests'), refused)
      await assert.rejects(spool.keep(jobId, bad), refused)
      await assert.rejects(spool.forget(bad), refused)
    }
  })

  test(`${name}: disposing twice is allowed`, async () => {
    const file = await (await openSpool()).open()

    await file[Symbol.asyncDispose]()
    await file[Symbol.asyncDispose]()
  })
}
