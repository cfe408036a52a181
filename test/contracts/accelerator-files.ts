import assert from 'node:assert/strict'
import { mkdtemp, open, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type TestContext, test } from 'node:test'

import type { Accelerator } from '#src/ports/accelerator.ts'
import { loopDevice } from '../support/loop-device.ts'
import { noise } from '../support/volume-data.ts'

const mebibyte = 1024 * 1024

/** A file of 4 MiB with data in the second one and in the last 100 bytes. */
async function sparseFile(t: TestContext) {
  const folder = await mkdtemp(path.join(tmpdir(), 'cba-sparse-'))
  const handle = await open(path.join(folder, 'volume'), 'wx+')
  t.after(async () => {
    await handle.close()
    await rm(folder, { recursive: true })
  })
  await handle.truncate(4 * mebibyte)
  await handle.write(noise('sparse', mebibyte), 0, mebibyte, mebibyte)
  await handle.write(noise('sparse', 100), 0, 100, 4 * mebibyte - 100)
  return { fd: handle.fd, file: path.join(folder, 'volume') }
}

type OpenFiles = Pick<Accelerator, 'dataRun' | 'punchHole' | 'deviceSize'>

/** What every Accelerator must do with open files and devices. */
export function testOpenFiles(adapter: string, accelerator: OpenFiles): void {
  const { dataRun, punchHole, deviceSize } = accelerator

  test(`${adapter}: the runs of a file with holes are found one after the other`, async (t) => {
    const { fd } = await sparseFile(t)

    const first = dataRun(fd, 0)
    const second = dataRun(fd, 2 * mebibyte)

    assert.deepEqual(first, { start: mebibyte, end: 2 * mebibyte })
    assert.deepEqual(dataRun(fd, mebibyte + 1000), { start: mebibyte + 1000, end: 2 * mebibyte })
    assert.ok(second !== null && second !== undefined)
    assert.ok(second.start > 3 * mebibyte && second.start <= 4 * mebibyte - 100)
    assert.equal(second.end, 4 * mebibyte)
    assert.equal(dataRun(fd, 4 * mebibyte), null)
    assert.equal(dataRun(fd, 2 ** 52), null)
  })

  test(`${adapter}: a file of zeros alone that were never written has no run`, async (t) => {
    const { fd } = await sparseFile(t)
    punchHole(fd, 0, 4 * mebibyte)

    assert.equal(dataRun(fd, 0), null)
  })

  test(`${adapter}: a block device does not tell its runs, but its size`, async () => {
    await using device = await loopDevice(3 * mebibyte)
    await using handle = await open(device.path, 'r')

    assert.equal(dataRun(handle.fd, 0), undefined)
    assert.equal(deviceSize(handle.fd), 3 * mebibyte)
  })

  test(`${adapter}: the size of what is no device is an error of the system`, async (t) => {
    const { fd } = await sparseFile(t)

    assert.throws(() => deviceSize(fd), { name: 'Error', code: 'ENOTTY', syscall: 'ioctl' })
  })

  test(`${adapter}: a punched part of a file is zeros and takes no room`, async (t) => {
    const { fd, file } = await sparseFile(t)
    const before = await readFile(file)
    const { blocks } = await stat(file)

    assert.equal(punchHole(fd, mebibyte + 8192, mebibyte / 2), true)

    const expected = before.fill(0, mebibyte + 8192, mebibyte + 8192 + mebibyte / 2)
    assert.ok((await readFile(file)).equals(expected))
    assert.ok((await stat(file)).blocks <= blocks - 1000)
  })

  test(`${adapter}: a hole beyond the end does not make a file longer`, async (t) => {
    const { fd, file } = await sparseFile(t)

    assert.equal(punchHole(fd, 3 * mebibyte, 9 * mebibyte), true)
    assert.equal((await stat(file)).size, 4 * mebibyte)
  })

  test(`${adapter}: a punched part of a block device is zeros`, async () => {
    await using device = await loopDevice(3 * mebibyte)
    const bytes = noise('device', 3 * mebibyte)
    await using handle = await open(device.path, 'r+')
    await handle.write(bytes, 0, bytes.byteLength, 0)
    await handle.sync()

    assert.equal(punchHole(handle.fd, mebibyte, mebibyte), true)

    assert.ok((await readFile(device.path)).equals(bytes.fill(0, mebibyte, 2 * mebibyte)))
  })

  test(`${adapter}: where no hole can be had it says so, and nothing has changed`, async () => {
    await using device = await loopDevice(mebibyte)
    const bytes = noise('device', mebibyte)
    await using handle = await open(device.path, 'r+')
    await handle.write(bytes, 0, bytes.byteLength, 0)
    await using nowhere = await open('/dev/null', 'r+')

    assert.equal(punchHole(handle.fd, 100, 100), false)
    assert.equal(punchHole(nowhere.fd, 0, 4096), false)
    assert.ok((await readFile(device.path)).equals(bytes))
  })

  test(`${adapter}: a hole where one may not write is an error of the system`, async (t) => {
    const { file } = await sparseFile(t)
    await using handle = await open(file, 'r')

    assert.throws(() => punchHole(handle.fd, 0, 4096), { code: 'EBADF', syscall: 'fallocate' })
  })

  test(`${adapter}: descriptors, offsets and lengths are whole numbers`, () => {
    for (const wrong of [-1, 0.5, Number.NaN, 2 ** 53]) {
      assert.throws(() => deviceSize(wrong), TypeError)
      assert.throws(() => dataRun(0, wrong), TypeError)
      assert.throws(() => punchHole(0, wrong, 1), TypeError)
      assert.throws(() => punchHole(0, 0, wrong), TypeError)
    }
  })
}
