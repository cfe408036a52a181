// What becomes of a backup's reads and a restore's writes where the device fails: real block devices,
// read and written as the main thread does and as a lane does.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import { readdir, symlink, truncate } from 'node:fs/promises'
import { test } from 'node:test'

import { sharedReader, sharedWriter } from '#src/adapters/volumes/shared-volume.ts'
import { pageBuffer } from '#src/lib/page-buffer.ts'
import type { VolumeReader } from '#src/ports/volumes.ts'

import { type FaultyDevice, faultyDevice } from '../../support/faulty-device.ts'
import { loopDevice, refreshLoopSize } from '../../support/loop-device.ts'
import { noise } from '../../support/volume-data.ts'
import { volumeFolder, volumeId } from '../../support/volume-folder.ts'

const signal = AbortSignal.timeout(120_000)
const source = { volumeId, snapshotId: null }
const mebibyte = 1024 * 1024
const page = 4096
const pages = (first: number, count: number) => ({
  offsetBytes: first * page,
  lengthBytes: count * page,
})

/** A volume on a device that can be made to fail, with the two ways to read it. */
async function openFaulty(bytes: Uint8Array) {
  await using stack = new AsyncDisposableStack()
  const { volumes, volume } = stack.use(await volumeFolder())
  const device: FaultyDevice = stack.use(await faultyDevice(bytes))
  await symlink(device.path, volume)
  const reader = stack.use(await volumes.openSource(source, signal))
  const all = stack.move()
  return { device, volume, reader, [Symbol.asyncDispose]: () => all.disposeAsync() }
}

function lane({ shared }: VolumeReader): VolumeReader {
  assert.ok(shared !== null)
  return sharedReader(shared, null)
}

type Way = readonly [string, (reader: VolumeReader) => VolumeReader, (bytes: number) => Uint8Array]

const ways: readonly Way[] = [
  ['the main thread', (reader) => reader, (bytes) => new Uint8Array(bytes)],
  ['the main thread, past the page cache', (reader) => reader, pageBuffer],
  ['a lane', lane, (bytes) => new Uint8Array(bytes)],
  ['a lane, past the page cache', lane, pageBuffer],
]

for (const [who, open, buffer] of ways) {
  test(`${who} names exactly the bad sectors, and reads all others`, async () => {
    const bytes = noise('bad sectors', 2 * mebibyte)
    await using faulty = await openFaulty(bytes)
    const reader = open(faulty.reader)
    // At the start, in the middle, over the border of two slices, and the last page.
    const bad = [pages(0, 1), pages(100, 3), pages(254, 4), pages(511, 1)]
    await faulty.device.failReads(bad)

    for (const [offsetBytes, badRanges] of [
      [0, [pages(0, 1), pages(100, 3), pages(254, 2)]],
      [mebibyte, [pages(256, 2), pages(511, 1)]],
    ] as const) {
      const into = buffer(mebibyte)
      into.fill(0xaa)
      await assert.rejects(reader.read(offsetBytes, into), {
        code: 'VOLUME_READ_FAILED',
        context: { path: faulty.volume, offsetBytes, lengthBytes: mebibyte, badRanges },
      })
      const expected = bytes.slice(offsetBytes, offsetBytes + mebibyte)
      for (const range of badRanges) {
        const start = range.offsetBytes - offsetBytes
        expected.fill(0xaa, start, start + range.lengthBytes)
      }
      assert.equal(Buffer.compare(into, expected), 0, 'nothing is filled in')
    }
  })

  test(`${who} reads good data once an error has passed`, async () => {
    const bytes = noise('passing', mebibyte)
    await using faulty = await openFaulty(bytes)
    const reader = open(faulty.reader)
    await faulty.device.failReads([pages(10, 1)])
    const failed = { code: 'VOLUME_READ_FAILED' }
    await assert.rejects(reader.read(0, buffer(mebibyte)), failed)

    await faulty.device.failReads([])

    const into = buffer(mebibyte)
    await reader.read(0, into)
    assert.equal(Buffer.compare(into, bytes), 0)
  })

  test(`${who} fails on a device that vanished, and nothing is made in /dev`, async () => {
    await using faulty = await openFaulty(noise('vanishing', 4 * mebibyte))
    const reader = open(faulty.reader)
    await reader.read(0, buffer(page))
    const before = await readdir('/dev')

    await faulty.device.vanish()

    const offsetBytes = 3 * mebibyte // Beyond what the kernel has read ahead.
    await assert.rejects(reader.read(offsetBytes, buffer(mebibyte)), {
      code: 'VOLUME_READ_FAILED',
      context: {
        path: faulty.volume,
        offsetBytes,
        lengthBytes: mebibyte,
        badRanges: [{ offsetBytes, lengthBytes: mebibyte }],
      },
    })
    const made = (await readdir('/dev')).filter((name) => !before.includes(name))
    // Other tests that run meanwhile take loop devices, and have folders of nodes there.
    assert.deepEqual(
      made.filter((name) => !/^(loop|cba-attach-)/.test(name)),
      [],
    )
  })

  test(`${who} says VOLUME_CHANGED where the device shrank, and keeps to its size where it grew`, async () => {
    await using folder = await volumeFolder()
    await using device = await loopDevice(2 * mebibyte)
    await symlink(device.path, folder.volume)
    await using opened = await folder.volumes.openSource(source, signal)
    const reader = open(opened)

    await truncate(device.file, 3 * mebibyte)
    await refreshLoopSize(device.path)
    assert.equal(reader.sizeBytes, 2 * mebibyte)
    assert.equal(await reader.sizeNow(), 3 * mebibyte)
    await reader.read(mebibyte, buffer(mebibyte))
    const beyond = reader.read(mebibyte, buffer(mebibyte + page))
    await assert.rejects(beyond, { code: 'VOLUME_CHANGED' })

    await truncate(device.file, mebibyte)
    await refreshLoopSize(device.path)
    await reader.read(0, buffer(mebibyte))
    const ended = { code: 'VOLUME_CHANGED', message: /ended at byte 1048576/ }
    await assert.rejects(reader.read(mebibyte - page, buffer(2 * page)), ended)
    await assert.rejects(reader.read(mebibyte, buffer(page)), ended)
    const shrunk = { code: 'VOLUME_CHANGED', message: /1048576 bytes now and had 2097152/ }
    await assert.rejects(reader.sizeNow(), shrunk)
  })
}

test('a single bad sector of a page is told from its good neighbours', async () => {
  await using folder = await volumeFolder()
  await using device = await loopDevice(mebibyte)
  await symlink(device.path, folder.volume)
  await using opened = await folder.volumes.openSource(source, signal)
  // The kernel answers EIO for what the backing file does not have any more.
  await truncate(device.file, mebibyte - 3 * 512)

  await assert.rejects(lane(opened).read(0, pageBuffer(mebibyte)), {
    code: 'VOLUME_READ_FAILED',
    context: {
      path: folder.volume,
      offsetBytes: 0,
      lengthBytes: mebibyte,
      badRanges: [{ offsetBytes: mebibyte - 3 * 512, lengthBytes: 3 * 512 }],
    },
  })
})

for (const isLane of [false, true]) {
  const who = isLane ? 'a lane' : 'the main thread'

  test(`what ${who} wrote and the device lost fails the sync, and every later one`, async () => {
    await using folder = await volumeFolder()
    await using device = await faultyDevice(new Uint8Array(mebibyte))
    await symlink(device.path, folder.volume)
    await using opened = await folder.volumes.openTarget(volumeId, signal)
    const writer = isLane && opened.shared !== null ? sharedWriter(opened.shared, null) : opened
    await device.failWrites([pages(7, 2)])

    await writer.write(0, noise('lost', mebibyte))

    const lost = { code: 'VOLUME_WRITE_FAILED', message: /bringing what was written/ }
    await assert.rejects(writer.sync(), lost)
    await device.failWrites([])
    await assert.rejects(writer.sync(), lost)
  })

  test(`a write of ${who} that the device refuses says where`, async () => {
    await using folder = await volumeFolder()
    await using disk = await loopDevice(mebibyte)
    await symlink(disk.path, folder.volume)
    await using opened = await folder.volumes.openTarget(volumeId, signal)
    const writer = isLane && opened.shared !== null ? sharedWriter(opened.shared, null) : opened
    await writer.write(0, new Uint8Array(page))

    // Writes beyond the end that the device has now are refused at once.
    await truncate(disk.file, mebibyte / 2)
    await refreshLoopSize(disk.path)

    await assert.rejects(writer.write(mebibyte / 2 - page, new Uint8Array(2 * page)), {
      code: 'VOLUME_WRITE_FAILED',
      context: { path: folder.volume, offsetBytes: mebibyte / 2, lengthBytes: page },
    })
  })
}

test('the second descriptor of a block device goes past the page cache, a file has none', async () => {
  await using folder = await volumeFolder()
  await using device = await loopDevice(mebibyte)
  await symlink(device.path, folder.volume)
  await using reader = await folder.volumes.openSource(source, signal)

  const { directFd } = reader.shared ?? assert.fail('a device can be shared')
  assert.ok(directFd !== null)
  const flags = fs.readFileSync(`/proc/self/fdinfo/${directFd}`, 'utf8').match(/flags:\s+(\d+)/)
  assert.ok(Number.parseInt(flags?.[1] ?? '', 8) & fs.constants.O_DIRECT)
  assert.equal(fs.fstatSync(directFd).rdev, fs.statSync(device.path).rdev)
})
