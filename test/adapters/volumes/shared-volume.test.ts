import assert from 'node:assert/strict'
import fs from 'node:fs'
import { readFile, stat, symlink, truncate, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'

import { sharedReader, sharedWriter } from '#src/adapters/volumes/shared-volume.ts'
import { pageBuffer } from '#src/lib/page-buffer.ts'
import type { SharedVolume } from '#src/ports/volumes.ts'
import { hostAccelerator } from '../../support/host-accelerator.ts'
import { loopDevice } from '../../support/loop-device.ts'
import { noise } from '../../support/volume-data.ts'
import { volumeFolder, volumeId } from '../../support/volume-folder.ts'

const signal = AbortSignal.timeout(60_000)
const source = { volumeId, snapshotId: null }
const mebibyte = 1024 * 1024

function shared(volume: { readonly shared: SharedVolume | null }): SharedVolume {
  return volume.shared ?? assert.fail('it can be shared')
}

test('aligned and other reads of a block device of an odd size give the same bytes', async () => {
  await using folder = await volumeFolder()
  const bytes = noise('odd', mebibyte + 3 * 512)
  await using device = await loopDevice(bytes.byteLength)
  await writeFile(device.path, bytes)
  await symlink(device.path, folder.volume)
  await using opened = await folder.volumes.openSource(source, signal)
  const reader = sharedReader(shared(opened), null)
  const memory = pageBuffer(2 * mebibyte)

  for (const [at, length, start] of [
    [0, bytes.byteLength, 0],
    [4096, mebibyte - 4096 + 512, 8192],
    [4096, 5000, 0],
    [512, 4096, 0],
    [1, 10_000, 4096],
    [8192, 8192, 512],
    [mebibyte, 3 * 512, 0],
  ] as const) {
    const into = memory.fill(0).subarray(start, start + length)
    await reader.read(at, into)
    assert.equal(Buffer.compare(into, bytes.subarray(at, at + length)), 0, `${length} at ${at}`)
  }
})

test('what a lane reads of a block device into page buffers stays out of the page cache', async () => {
  await using folder = await volumeFolder()
  await using device = await loopDevice(8 * mebibyte)
  await symlink(device.path, folder.volume)
  await using opened = await folder.volumes.openSource(source, signal)
  const { directFd, fd } = shared(opened)
  assert.ok(directFd !== null)

  // Without the cached way at all: the other descriptor is one that cannot be read.
  const closed = fs.openSync('/dev/null', fs.constants.O_WRONLY)
  try {
    const reader = sharedReader({ ...shared(opened), fd: closed }, null)
    await reader.read(mebibyte, pageBuffer(mebibyte))
    const unaligned = reader.read(mebibyte, new Uint8Array(mebibyte))
    await assert.rejects(unaligned, { code: 'VOLUME_READ_FAILED' })
  } finally {
    fs.closeSync(closed)
  }
  assert.notEqual(fd, directFd)
})

test('a file is shared by one descriptor, and its holes are found', async () => {
  await using folder = await volumeFolder(hostAccelerator())
  await writeFile(folder.volume, noise('start', 4096))
  await truncate(folder.volume, mebibyte)
  await using opened = await folder.volumes.openSource(source, signal)
  assert.equal(shared(opened).directFd, null)

  const reader = sharedReader(shared(opened), hostAccelerator())
  assert.deepEqual(reader.dataRun(0), { start: 0, end: 4096 })
  assert.deepEqual(reader.dataRun(1000), { start: 1000, end: 4096 })
  assert.equal(reader.dataRun(4096), null)
  const blind = sharedReader(shared(opened), null)
  assert.deepEqual(blind.dataRun(4096), { start: 4096, end: mebibyte })
})

test('data that a file has beyond its size at opening is not told of', async () => {
  await using folder = await volumeFolder(hostAccelerator())
  await writeFile(folder.volume, new Uint8Array(8192).fill(1))
  await using reader = await folder.volumes.openSource(source, signal)

  await writeFile(folder.volume, new Uint8Array(100_000).fill(2))

  assert.deepEqual(reader.dataRun(4096), { start: 4096, end: 8192 })
  assert.equal(await reader.sizeNow(), 100_000)
})

test('a lane writes, punches and syncs, and closes nothing', async () => {
  await using folder = await volumeFolder()
  await writeFile(folder.volume, new Uint8Array(mebibyte).fill(1))
  await using opened = await folder.volumes.openTarget(volumeId, signal)
  {
    await using writer = sharedWriter(shared(opened), hostAccelerator())
    await writer.check()
    await writer.write(4096, Uint8Array.of(2, 3))
    assert.equal(await writer.punch({ offsetBytes: 65_536, lengthBytes: 131_072 }), true)
    assert.equal(await writer.punch({ offsetBytes: 0, lengthBytes: 0 }), true)
    await writer.sync()
    const tooFar = { code: 'VOLUME_TOO_SMALL' }
    await assert.rejects(writer.write(mebibyte, Uint8Array.of(1)), tooFar)
    await assert.rejects(writer.punch({ offsetBytes: mebibyte, lengthBytes: 1 }), tooFar)
  }
  await opened.write(0, Uint8Array.of(9))

  const expected = new Uint8Array(mebibyte).fill(1).fill(0, 65_536, 196_608)
  expected.set([9])
  expected.set([2, 3], 4096)
  assert.equal(Buffer.compare(await readFile(folder.volume), expected), 0)
  assert.ok((await stat(folder.volume)).blocks * 512 < mebibyte)
})

test('another thread reads the volume that this one has open', async () => {
  await using folder = await volumeFolder()
  const bytes = noise('threads', mebibyte)
  await using device = await loopDevice(mebibyte)
  await writeFile(device.path, bytes)
  await symlink(device.path, folder.volume)
  await using opened = await folder.volumes.openSource(source, signal)
  const src = (file: string) => JSON.stringify(path.join(import.meta.dirname, '../../../src', file))
  const program = `
    const { parentPort, workerData } = require('node:worker_threads')
    void (async () => {
      const { sharedReader } = await import(${src('adapters/volumes/shared-volume.ts')})
      const { pageBuffer } = await import(${src('lib/page-buffer.ts')})
      const into = pageBuffer(${mebibyte})
      await using reader = sharedReader(workerData, null)
      await reader.read(0, into)
      parentPort.postMessage(new Uint8Array(into))
    })()
  `

  const worker = new Worker(program, { eval: true, workerData: opened.shared })
  const read = await new Promise<Uint8Array>((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })
  await worker.terminate()

  assert.equal(Buffer.compare(read, bytes), 0)
})
