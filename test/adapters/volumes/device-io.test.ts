import assert from 'node:assert/strict'
import { readFile, truncate, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'

import type { DeviceFile } from '#src/adapters/volumes/device-file.ts'
import { deviceWriting } from '#src/adapters/volumes/device-io.ts'
import { pathVolumes } from '#src/adapters/volumes/path-volumes.ts'

import { smallDisk } from '../../support/small-disk.ts'
import { volumeId } from '../../support/volume-folder.ts'

const signal = AbortSignal.timeout(60_000)
const sizeBytes = 10_000

/** A device in memory that takes `bytesMax` at a time, after it failed with these codes. */
function writing(content: Uint8Array, bytesMax: number, codes: readonly string[] = []) {
  const left = [...codes]
  const file: Pick<DeviceFile, 'write'> = {
    write(data, start, length, position) {
      const code = left.shift()
      if (code !== undefined) throw Object.assign(new Error(`${code}: made up`), { code })
      const bytesWritten = Math.min(length, bytesMax)
      content.set(data.subarray(start, start + bytesWritten), position)
      return { bytesWritten }
    },
  }
  const shared = { path: 'disk', sizeBytes, fd: -1, directFd: null }
  const io = { shared, file: file as DeviceFile, direct: null, accelerator: null, signal }
  return deviceWriting(io, async () => {})
}

test('a write that is short, interrupted or put off goes on until all is written', async () => {
  const content = new Uint8Array(sizeBytes)
  const data = Uint8Array.from({ length: 1000 }, (_, at) => at % 251)

  await writing(content, 7, ['EINTR', 'EAGAIN']).write(5000, data)

  assert.deepEqual(content.subarray(5000, 6000), data)
  assert.ok(content.subarray(0, 5000).every((byte) => byte === 0))
})

test('a device that is gone, or takes nothing, fails the write and does not hang it', async () => {
  const content = new Uint8Array(sizeBytes)
  const gone = writing(content, 10, ['ENXIO']).write(100, new Uint8Array(50))
  const full = writing(content, 0).write(100, new Uint8Array(50))

  const context = { path: 'disk', offsetBytes: 100, lengthBytes: 50 }
  await assert.rejects(gone, { code: 'VOLUME_WRITE_FAILED', message: /device is gone/, context })
  await assert.rejects(full, { code: 'VOLUME_WRITE_FAILED', message: /took none of it/, context })
})

test('a file with holes on a full disk says VOLUME_WRITE_FAILED and where, and stays as large', async (t) => {
  const disk = await smallDisk(t, 256)
  const volumes = pathVolumes({
    volumePaths: [path.join(disk.folder, '{volume_id}')],
    snapshotPaths: [],
    volumeRoots: [],
  })
  const file = path.join(disk.folder, volumeId)
  await writeFile(file, 'start')
  await truncate(file, 1_048_576)
  disk.fill()
  await using writer = await volumes.openTarget(volumeId, signal)

  await writer.write(0, Buffer.from('START'))
  await assert.rejects(writer.write(65_536, new Uint8Array(8192)), {
    code: 'VOLUME_WRITE_FAILED',
    message: /offset 65536 of .*ENOSPC/,
  })

  assert.equal((await readFile(file)).byteLength, 1_048_576)
})
