import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'
import { type BadRange, readFully } from '#src/adapters/volumes/read-fully.ts'

const signal = AbortSignal.timeout(60_000)

type Disk = Parameters<typeof readFully>[0]

/** A disk whose every byte is its offset modulo 251, that fails where a read touches a bad sector. */
function disk(
  sizeBytes: number,
  isBad: (sector: number) => boolean,
  { readBytesMax = Number.POSITIVE_INFINITY, code = 'EIO' } = {},
): Disk {
  const read = async (into: Uint8Array, start: number, length: number, position: number) => {
    const end = Math.min(position + Math.min(length, readBytesMax), sizeBytes)
    for (let sector = Math.floor(position / 512); sector * 512 < end; sector += 1) {
      if (isBad(sector)) throw Object.assign(new Error(`${code}: made up`), { code })
    }
    for (let at = position; at < end; at += 1) into[start + at - position] = at % 251
    return { bytesRead: Math.max(0, end - position), buffer: into }
  }
  return { read } as Disk
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
    'disk',
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
          'disk',
          offsetBytes,
          into,
          signal,
        )

        const error = await failure(reading)

        const expected: BadRange[] = []
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
        const { code, context } = error as { code: string; context: { badRanges: BadRange[] } }
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

  await readFully(passing, 'disk', 0, into, signal)

  assert.ok(into.every((byte, index) => byte === expectedByte(index)))
  assert.ok(failures > 1)
})

test('a device that is gone says VOLUME_READ_FAILED without a search', async () => {
  let reads = 0
  const gone = disk(4096, () => ++reads > 0, { code: 'ENXIO' })

  const reading = readFully(gone, 'disk', 0, new Uint8Array(4096), signal)

  await assert.rejects(reading, { code: 'VOLUME_READ_FAILED', message: /the device is gone/ })
  assert.equal(reads, 1)
})

test('a device that ends early says VOLUME_CHANGED', async () => {
  const reading = readFully(
    disk(1000, () => false),
    'disk',
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

  const reading = readFully(dying, 'disk', 0, new Uint8Array(51_200), stop.signal)

  await assert.rejects(reading, reason)
})
