import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import {
  link,
  mkdir,
  readdir,
  readFile,
  symlink,
  truncate,
  unlink,
  writeFile,
} from 'node:fs/promises'
import { test } from 'node:test'
import { promisify } from 'node:util'

import { pathVolumes } from '#src/adapters/volumes/path-volumes.ts'
import { attachLoop, loopDevice, refreshLoopSize } from '../../support/loop-device.ts'
import { volumeFolder, volumeId } from '../../support/volume-folder.ts'

const run = promisify(execFile)
const signal = AbortSignal.timeout(120_000)
const source = { volumeId, snapshotId: null }
const mebibyte = 1024 * 1024

test('one file under two names has one writer', async () => {
  await using temporary = await volumeFolder()
  const { folder, volumes } = temporary
  const otherId = '73eac886-0a63-458a-9380-c8937ce0a3a3'
  await writeFile(temporary.volume, 'tenant')
  await link(temporary.volume, `${folder}/volume-${otherId}`)

  await using _first = await volumes.openTarget(volumeId, signal)

  await assert.rejects(volumes.openTarget(otherId, signal), { code: 'VOLUME_IN_USE' })
})

test('a device that another program holds exclusively says VOLUME_IN_USE', async () => {
  await using temporary = await volumeFolder()
  await using device = await loopDevice(mebibyte)
  await symlink(device.path, temporary.volume)
  const others = pathVolumes({
    volumePaths: [`${temporary.folder}/volume-{volume_id}`],
    snapshotPaths: [],
    volumeRoots: [],
  })

  {
    await using _held = await temporary.volumes.openTarget(volumeId, signal)
    const held = { code: 'VOLUME_IN_USE', message: /held by another program/ }
    await assert.rejects(others.openTarget(volumeId, signal), held)
  }
  await using writer = await others.openTarget(volumeId, signal)
  assert.equal(writer.sizeBytes, mebibyte)
})

test('a mounted device is never written, and the message says where it is mounted', async () => {
  await using temporary = await volumeFolder()
  await using device = await loopDevice(8 * mebibyte)
  await symlink(device.path, temporary.volume)
  const mountPoint = `${temporary.folder}/mount point`
  await mkdir(mountPoint)
  await run('mkfs.ext4', ['-q', device.path])
  await run('mount', [device.path, mountPoint])
  try {
    const opening = temporary.volumes.openTarget(volumeId, signal)
    await assert.rejects(opening, { code: 'VOLUME_IN_USE', message: /mounted on .*mount point;/ })
    await using reader = await temporary.volumes.openSource(source, signal)
    assert.equal(reader.sizeBytes, 8 * mebibyte)
  } finally {
    await run('umount', [mountPoint])
  }
})

test('a device with a mounted partition is never written', async () => {
  await using temporary = await volumeFolder()
  await using device = await loopDevice(16 * mebibyte)
  await symlink(device.path, temporary.volume)
  const mountPoint = `${temporary.folder}/mount`
  await mkdir(mountPoint)
  await run('addpart', [device.path, '1', '2048', '16384'])
  await run('mkfs.ext4', ['-q', `${device.path}p1`])
  await run('mount', [`${device.path}p1`, mountPoint])
  try {
    const opening = temporary.volumes.openTarget(volumeId, signal)
    const mounted = { code: 'VOLUME_IN_USE', message: /its partition loop\d+p1 is mounted/ }
    await assert.rejects(opening, mounted)
  } finally {
    await run('umount', [mountPoint])
    await run('delpart', [device.path, '1'])
  }
})

test('a device that is swap is never written', async () => {
  await using temporary = await volumeFolder()
  await using device = await loopDevice(8 * mebibyte)
  await symlink(device.path, temporary.volume)
  await run('mkswap', [device.path])
  await run('swapon', [device.path])
  try {
    const opening = temporary.volumes.openTarget(volumeId, signal)
    await assert.rejects(opening, { code: 'VOLUME_IN_USE', message: /in use as swap/ })
  } finally {
    await run('swapoff', [device.path])
  }
})

test('a file behind a loop device is never written, and may be read', async () => {
  await using temporary = await volumeFolder()
  await writeFile(temporary.volume, new Uint8Array(mebibyte))
  {
    await using device = await attachLoop(temporary.volume)
    const held = { code: 'VOLUME_IN_USE', message: new RegExp(`behind ${device.path}`) }
    await assert.rejects(temporary.volumes.openTarget(volumeId, signal), held)
    await using reader = await temporary.volumes.openSource(source, signal)
    assert.equal(reader.sizeBytes, mebibyte)
  }
  await using writer = await temporary.volumes.openTarget(volumeId, signal)
  assert.equal(writer.sizeBytes, mebibyte)
})

test('a read-only device is read, and as a target says VOLUME_WRITE_FAILED', async () => {
  await using temporary = await volumeFolder()
  await using device = await loopDevice(mebibyte, { readOnly: true })
  await symlink(device.path, temporary.volume)

  await using reader = await temporary.volumes.openSource(source, signal)

  assert.equal(reader.sizeBytes, mebibyte)
  const readOnly = { code: 'VOLUME_WRITE_FAILED', message: /read-only/ }
  await assert.rejects(temporary.volumes.openTarget(volumeId, signal), readOnly)
})

test('a target that vanished before the first write is not made anew', async () => {
  await using temporary = await volumeFolder()
  await using device = await loopDevice(mebibyte)
  await symlink(device.path, temporary.volume)
  await using writer = await temporary.volumes.openTarget(volumeId, signal)

  await unlink(temporary.volume)

  const changed = { code: 'VOLUME_CHANGED', message: /vanished/ }
  await assert.rejects(writer.write(0, Uint8Array.of(1)), changed)
  assert.deepEqual(await readdir(temporary.folder), [])
  assert.equal((await readFile(device.path))[0], 0)
})

test('a target whose size changed before the first write says VOLUME_CHANGED', async () => {
  await using temporary = await volumeFolder()
  await using device = await loopDevice(2 * mebibyte)
  await symlink(device.path, temporary.volume)
  await using writer = await temporary.volumes.openTarget(volumeId, signal)

  await truncate(device.file, mebibyte)
  await refreshLoopSize(device.path)

  const changed = { code: 'VOLUME_CHANGED', message: /1048576 bytes now and had 2097152/ }
  await assert.rejects(writer.write(0, Uint8Array.of(1)), changed)
})

test('a source that shrinks while it is read says VOLUME_CHANGED', async () => {
  await using temporary = await volumeFolder()
  await writeFile(temporary.volume, new Uint8Array(8192))
  await using reader = await temporary.volumes.openSource(source, signal)

  await truncate(temporary.volume, 5000)

  await reader.read(0, new Uint8Array(5000))
  const changed = { code: 'VOLUME_CHANGED', message: /ended at byte 5000/ }
  await assert.rejects(reader.read(4096, new Uint8Array(4096)), changed)
})

test('a block device that cannot read names the bad range and fills in nothing', async () => {
  await using temporary = await volumeFolder()
  await using device = await loopDevice(mebibyte)
  await symlink(device.path, temporary.volume)
  await using reader = await temporary.volumes.openSource(source, signal)

  // The kernel answers EIO for what the backing file does not have any more.
  await truncate(device.file, mebibyte / 2)

  const into = new Uint8Array(mebibyte).fill(0xaa)
  await assert.rejects(reader.read(0, into), {
    code: 'VOLUME_READ_FAILED',
    context: {
      path: temporary.volume,
      offsetBytes: 0,
      lengthBytes: mebibyte,
      badRanges: [{ offsetBytes: mebibyte / 2, lengthBytes: mebibyte / 2 }],
    },
  })
  assert.ok(into.subarray(mebibyte / 2).every((byte) => byte === 0xaa))
})
