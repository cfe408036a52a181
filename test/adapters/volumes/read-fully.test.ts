import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'
import { readFully, type Source } from '#src/adapters/volumes/read-fully.ts'
import type { Extent } from '#src/domain/extents.ts'
import { pageBuffer } from '#src/lib/page-buffer.ts'

const signal = AbortSignal.timeout(60_000)

/** A disk whose every byte is its offset modulo 251, that fails where a read touches a bad sector. */
function disk(
  sizeBytes: number,
  isBad: (sector: number) => boolean,
  { readBytesMax = Number.POSITIVE_INFINITY, code = 'EIO' } = {},
): Source {
  const read = async (into: Uint8Array, start: number, length: number, position: number) => {
    const end = Math.min(position + Math.min(length, readBytesMax), sizeBytes)
    for (let sector = Math.floor(position / 512); sector * 512 < end; sector += 1) {
      if (isBad(sector)) throw Object.assign(new Error(`${code}: made up`), { code })
    }
    for (let at = position; at < end; at += 1) into[start + at - position] = at % 251
    return { bytesRead: Math.max(0, end - position) }
  }
  return { path: 'disk', cached: { read }, direct: null }
}

const expectedByte = (at: number) => at % 251

async function failure(reading: Promise<void>): Promise<unknown> {
  try {
    await reading
  } catch (error) {
    return error
  }
  return null
}

test('short reads go on until the buffer is full', async () => {
  const into = new Uint8Array(10_000)

  await readFully(
    disk(20_000, () => false, { readBytesMax: 333 }),
    77,
    into,
    signal,
  )

  assert.ok(into.every((byte, index) => byte === expectedByte(77 + index)))
})

test('the bad ranges are exactly the bad sectors, and every other byte is read', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(fc.integer({ min: 0, max: 99 }), { maxLength: 12 }),
      fc.integer({ min: 0, max: 20_000 }),
      fc.integer({ min: 1, max: 31_200 }),
      async (sectors, offsetBytes, lengthBytes) => {
        const bad = new Set(sectors)
        const into = new Uint8Array(lengthBytes).fill(0xff)
        const isBadByte = (at: number) => bad.has(Math.floor(at / 512))
        const reading = readFully(
          disk(51_200, (sector) => bad.has(sector)),
          offsetBytes,
          into,
          signal,
        )

        const error = await failure(reading)

        const expected: Extent[] = []
        for (let at = offsetBytes; at < offsetBytes + lengthBytes; at += 1) {
          if (!isBadByte(at)) {
            assert.equal(into[at - offsetBytes], expectedByte(at))
            continue
          }
          const last = expected.at(-1)
          if (last !== undefined && last.offsetBytes + last.lengthBytes === at) {
            expected[expected.length - 1] = { ...last, lengthBytes: last.lengthBytes + 1 }
          } else expected.push({ offsetBytes: at, lengthBytes: 1 })
        }
        if (expected.length === 0) return assert.equal(error, null)
        const { code, context } = error as { code: string; context: { badRanges: Extent[] } }
        assert.equal(code, 'VOLUME_READ_FAILED')
        assert.deepEqual(context.badRanges, expected)
      },
    ),
  )
})

test('an error that has passed when the read is repeated is no failure', async () => {
  let failures = 0
  const passing = disk(4096, () => failures++ === 0)
  const into = new Uint8Array(4096)

  await readFully(passing, 0, into, signal)

  assert.ok(into.every((byte, index) => byte === expectedByte(index)))
  assert.ok(failures > 1)
})

test('a device that is gone says VOLUME_READ_FAILED without a search', async () => {
  let reads = 0
  const gone = disk(4096, () => ++reads > 0, { code: 'ENXIO' })

  const reading = readFully(gone, 0, new Uint8Array(4096), signal)

  await assert.rejects(reading, { code: 'VOLUME_READ_FAILED', message: /the device is gone/ })
  assert.equal(reads, 1)
})

test('a device that ends early says VOLUME_CHANGED', async () => {
  const reading = readFully(
    disk(1000, () => false),
    500,
    new Uint8Array(501),
    signal,
  )

  await assert.rejects(reading, { code: 'VOLUME_CHANGED' })
})

test('a search for bad sectors ends with the reason of the signal', async () => {
  const reason = new Error('told to stop')
  const stop = new AbortController()
  const dying = disk(51_200, () => {
    stop.abort(reason)
    return true
  })

  const reading = readFully(dying, 0, new Uint8Array(51_200), stop.signal)

  await assert.rejects(reading, reason)
})

/** A disk whose reads fail with these codes, one after the other, before they succeed. */
function interrupted(codes: readonly string[]): Source {
  const left = [...codes]
  const { cached } = disk(20_000, () => false)
  return {
    path: 'disk',
    direct: null,
    cached: {
      read(...at) {
        const code = left.shift()
        if (code !== undefined) throw Object.assign(new Error(`${code}: made up`), { code })
        return cached.read(...at)
      },
    },
  }
}

test('what a signal to the process interrupts, or a busy device puts off, is read again', async () => {
  const into = new Uint8Array(1000)

  await readFully(interrupted(['EINTR', 'EAGAIN', 'EINTR']), 5, into, signal)

  assert.ok(into.every((byte, index) => byte === expectedByte(5 + index)))
})

test('waiting for a busy device ends with the reason of the signal', async () => {
  const reason = new Error('told to stop')
  const stop = AbortSignal.abort(reason)

  await assert.rejects(readFully(interrupted(['EAGAIN']), 0, new Uint8Array(10), stop), reason)
})

test('what O_DIRECT refuses or fails to read is read through the page cache', async () => {
  for (const code of ['EINVAL', 'EIO', 'ENODATA']) {
    const { cached } = disk(20_000, () => false)
    const { cached: direct } = disk(20_000, () => true, { code })
    const into = pageBuffer(10_000)

    await readFully({ path: 'disk', cached, direct }, 4096, into, signal)

    assert.ok(into.every((byte, index) => byte === expectedByte(4096 + index)))
  }
})

test('O_DIRECT that reads less than was asked goes on, by whole pages or through the page cache', async () => {
  for (const readBytesMax of [4096, 512, 8191]) {
    const { cached } = disk(40_960, () => false)
    const { cached: direct } = disk(40_960, () => false, { readBytesMax })
    const into = pageBuffer(30_000)

    await readFully({ path: 'disk', cached, direct }, 8192, into, signal)

    assert.ok(into.every((byte, index) => byte === expectedByte(8192 + index)))
  }
})
