import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import {
  chmod,
  chown,
  link,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  unlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

import { pathVolumes } from '#src/adapters/volumes/path-volumes.ts'
import { testVolumes } from '../../contracts/volumes.ts'
import { attachLoop, loopDevice, refreshLoopSize } from '../../support/loop-device.ts'

const run = promisify(execFile)
const signal = AbortSignal.timeout(120_000)
const volumeId = '3220c896-be94-4fa5-9e6f-c9c39554130b'
const source = { volumeId, snapshotId: null }
const mebibyte = 1024 * 1024

/** A folder of root's own below the temporary one, with volumes that are looked for in it. */
async function temporaryFolder() {
  const folder = await mkdtemp(path.join(tmpdir(), 'path-volumes-'))
  const volumes = pathVolumes({
    volumePaths: [`${folder}/volume-{volume_id}`],
    snapshotPaths: [`${folder}/_snapshot-{snapshot_id}`],
    volumeRoots: [],
  })
  return {
    folder,
    volumes,
    volume: `${folder}/volume-${volumeId}`,
    snapshot: (id: string) => `${folder}/_snapshot-${id}`,
    async [Symbol.asyncDispose]() {
      await rm(folder, { recursive: true, force: true })
    },
  }
}

testVolumes('pathVolumes with files', async () => {
  const { folder, volumes, ...rest } = await temporaryFolder()
  return {
    volumes,
    async put(id, bytes) {
      await writeFile(`${folder}/volume-${id}`, bytes)
      await writeFile(`${folder}/_snapshot-${id}`, bytes)
    },
    bytes: async (id) => readFile(`${folder}/volume-${id}`),
    async replace(id, bytes) {
      await writeFile(`${folder}/new`, bytes)
      await rename(`${folder}/new`, `${folder}/volume-${id}`)
    },
    [Symbol.asyncDispose]: rest[Symbol.asyncDispose],
  }
})

testVolumes('pathVolumes with links to loop devices', async () => {
  const temporary = await temporaryFolder()
  const { folder, volumes } = temporary
  const devices = new AsyncDisposableStack()
  const put = async (id: string, bytes: Uint8Array) => {
    const device = devices.use(await loopDevice(bytes.byteLength))
    if (bytes.byteLength > 0) await writeFile(device.path, bytes)
    for (const name of [`volume-${id}`, `_snapshot-${id}`]) {
      await rm(`${folder}/${name}`, { force: true })
      await symlink(device.path, `${folder}/${name}`)
    }
  }
  return {
    volumes,
    put,
    bytes: (id) => readFile(`${folder}/volume-${id}`),
    replace: put,
    async [Symbol.asyncDispose]() {
      await devices.disposeAsync()
      await temporary[Symbol.asyncDispose]()
    },
  }
})

test('templates are tried in order, and the message names what was tried', async () => {
  await using temporary = await temporaryFolder()
  const { folder } = temporary
  await mkdir(`${folder}/b`)
  const volumes = pathVolumes({
    volumePaths: [`${folder}/a/{volume_id}`, `${folder}/b/volume-{volume_id}`],
    snapshotPaths: [],
    volumeRoots: [],
  })

  const opening = volumes.openSource(source, signal)
  await assert.rejects(opening, (error: Error) => {
    assert.equal('code' in error && error.code, 'VOLUME_NOT_FOUND')
    assert.match(error.message, new RegExp(`/a does not exist.*/b/volume-${volumeId} does not`))
    return true
  })

  await writeFile(`${folder}/b/volume-${volumeId}`, 'second')
  await using reader = await volumes.openSource(source, signal)
  assert.equal(reader.path, `${folder}/b/volume-${volumeId}`)
})

for (const [what, template] of [
  ['is relative', 'volumes/{volume_id}'],
  ['lacks the id', '/dev/sdb'],
  ['holds an unknown name', '/dev/{vg}/{volume_id}'],
  ['has no fixed folder', '/{volume_id}'],
] as const) {
  test(`a template that ${what} says CONFIGURATION_INVALID`, () => {
    const open = () => pathVolumes({ volumePaths: [template], snapshotPaths: [], volumeRoots: [] })
    assert.throws(open, { code: 'CONFIGURATION_INVALID' })
  })
}

test('a path outside the roots says VOLUME_OUTSIDE_ROOTS, what is there or not', async () => {
  await using temporary = await temporaryFolder()
  const { folder } = temporary
  await mkdir(`${folder}/allowed`)
  const volumes = pathVolumes({
    volumePaths: [`${folder}/allowed/../volume-{volume_id}`],
    snapshotPaths: [],
    volumeRoots: [`${folder}/allowed`],
  })
  const outside = { code: 'VOLUME_OUTSIDE_ROOTS', message: /add .* to volume_roots/ }

  await assert.rejects(volumes.openSource(source, signal), outside)
  await writeFile(temporary.volume, 'tenant')
  await assert.rejects(volumes.openSource(source, signal), outside)
  await assert.rejects(volumes.openTarget(volumeId, signal), outside)
  assert.equal(await readFile(temporary.volume, 'utf8'), 'tenant')
})

test('a folder whose name only begins like a root is outside', async () => {
  await using temporary = await temporaryFolder()
  const { folder } = temporary
  await mkdir(`${folder}/vol`)
  await mkdir(`${folder}/volumes`)
  await writeFile(`${folder}/volumes/${volumeId}`, 'tenant')
  const volumes = pathVolumes({
    volumePaths: [`${folder}/volumes/{volume_id}`],
    snapshotPaths: [],
    volumeRoots: [`${folder}/vol`],
  })

  await assert.rejects(volumes.openSource(source, signal), { code: 'VOLUME_OUTSIDE_ROOTS' })
})

test('a link to a file is refused, in the root and out of it', async () => {
  await using temporary = await temporaryFolder()
  for (const target of [`${temporary.folder}/file`, '/etc/hostname']) {
    await writeFile(`${temporary.folder}/file`, 'tenant')
    await rm(temporary.volume, { force: true })
    await symlink(target, temporary.volume)

    const { volumes } = temporary
    const outside = { code: 'VOLUME_OUTSIDE_ROOTS' }
    await assert.rejects(volumes.openSource(source, signal), outside)
    await assert.rejects(volumes.openTarget(volumeId, signal), outside)
  }
  assert.equal(await readFile(`${temporary.folder}/file`, 'utf8'), 'tenant')
})

test('a file that a linked folder moves out of the root is refused', async () => {
  await using temporary = await temporaryFolder()
  await using elsewhere = await temporaryFolder()
  await writeFile(elsewhere.volume, 'tenant')
  await symlink(elsewhere.folder, `${temporary.folder}/way`)
  const volumes = pathVolumes({
    volumePaths: [`${temporary.folder}/way/volume-{volume_id}`],
    snapshotPaths: [],
    volumeRoots: [temporary.folder],
  })

  await assert.rejects(volumes.openSource(source, signal), { code: 'VOLUME_OUTSIDE_ROOTS' })
})

test('a root that is itself a link stands for the folder it leads to', async () => {
  await using temporary = await temporaryFolder()
  await mkdir(`${temporary.folder}/real`)
  await symlink('real', `${temporary.folder}/root`)
  await writeFile(`${temporary.folder}/real/${volumeId}`, 'tenant')
  const volumes = pathVolumes({
    volumePaths: [`${temporary.folder}/root/{volume_id}`],
    snapshotPaths: [],
    volumeRoots: [],
  })

  await using reader = await volumes.openSource(source, signal)

  assert.equal(reader.sizeBytes, 6)
})

test('a link to a block device is refused where others than root can write its folder', async () => {
  await using temporary = await temporaryFolder()
  await using device = await loopDevice(mebibyte)
  await symlink(device.path, temporary.volume)
  const { folder, volumes } = temporary

  for (const spoil of [
    () => chmod(folder, 0o775),
    () => chmod(folder, 0o757),
    () => chown(folder, 1000, 0),
  ]) {
    await spoil()
    const outside = { code: 'VOLUME_OUTSIDE_ROOTS', message: /chown root/ }
    await assert.rejects(volumes.openSource(source, signal), outside)
    await assert.rejects(volumes.openTarget(volumeId, signal), outside)
    await chmod(folder, 0o755)
    await chown(folder, 0, 0)
  }
  await using reader = await volumes.openSource(source, signal)
  assert.equal(reader.sizeBytes, mebibyte)
})

test('every link of a chain must lie in a folder of root alone', async () => {
  await using temporary = await temporaryFolder()
  await using device = await loopDevice(mebibyte)
  const { folder, volumes } = temporary
  await mkdir(`${folder}/mapper`)
  await symlink(device.path, `${folder}/mapper/vg-lv`)
  await symlink('mapper/vg-lv', temporary.volume)

  {
    await using reader = await volumes.openSource(source, signal)
    assert.equal(reader.sizeBytes, mebibyte)
  }
  await chmod(`${folder}/mapper`, 0o777)
  await assert.rejects(volumes.openSource(source, signal), { code: 'VOLUME_OUTSIDE_ROOTS' })
})

test('a link to a block device that does not lie under /dev is refused', async () => {
  await using temporary = await temporaryFolder()
  await using device = await loopDevice(mebibyte)
  const { rdev } = await stat(device.path)
  await run('mknod', [`${temporary.folder}/node`, 'b', '7', String(rdev & 0xff)])
  await symlink('node', temporary.volume)

  const opening = temporary.volumes.openTarget(volumeId, signal)

  await assert.rejects(opening, { code: 'VOLUME_OUTSIDE_ROOTS' })
})

test('a dangling link and links in a circle say VOLUME_NOT_FOUND', async () => {
  await using temporary = await temporaryFolder()
  const { folder, volumes, volume } = temporary
  const missing = { code: 'VOLUME_NOT_FOUND' }

  await symlink('/dev/cinder-volumes-that-are-not/x', volume)
  await assert.rejects(volumes.openTarget(volumeId, signal), missing)
  await rm(volume)
  await symlink(`${folder}/circle`, volume)
  await symlink(volume, `${folder}/circle`)
  await assert.rejects(volumes.openTarget(volumeId, signal), missing)
})

test('a folder, a pipe and a character device are no volumes', async () => {
  await using temporary = await temporaryFolder()
  const { volume, volumes } = temporary
  for (const make of [
    () => mkdir(volume),
    () => run('mkfifo', [volume]),
    () => run('mknod', [volume, 'c', '1', '3']),
  ]) {
    await make()
    const notVolume = { code: 'VOLUME_NOT_FOUND', message: /neither a block device nor a regular/ }
    await assert.rejects(volumes.openSource(source, signal), notVolume)
    await assert.rejects(volumes.openTarget(volumeId, signal), notVolume)
    await rm(volume, { recursive: true })
  }
})

test('a file is never created, cut or grown', async () => {
  await using temporary = await temporaryFolder()
  const { folder, volume, volumes } = temporary

  await assert.rejects(volumes.openTarget(volumeId, signal), { code: 'VOLUME_NOT_FOUND' })
  assert.deepEqual(await readdir(folder), [])

  await writeFile(volume, 'before the restore')
  {
    await using writer = await volumes.openTarget(volumeId, signal)
    assert.equal(await readFile(volume, 'utf8'), 'before the restore')
    await writer.write(0, Buffer.from('after '))
    await writer.sync()
  }
  assert.equal(await readFile(volume, 'utf8'), 'after  the restore')
})

test('one file under two names has one writer', async () => {
  await using temporary = await temporaryFolder()
  const { folder, volumes } = temporary
  const otherId = '73eac886-0a63-458a-9380-c8937ce0a3a3'
  await writeFile(temporary.volume, 'tenant')
  await link(temporary.volume, `${folder}/volume-${otherId}`)

  await using _first = await volumes.openTarget(volumeId, signal)

  await assert.rejects(volumes.openTarget(otherId, signal), { code: 'VOLUME_IN_USE' })
})

test('a device that another program holds exclusively says VOLUME_IN_USE', async () => {
  await using temporary = await temporaryFolder()
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
  await using temporary = await temporaryFolder()
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
  await using temporary = await temporaryFolder()
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
  await using temporary = await temporaryFolder()
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
  await using temporary = await temporaryFolder()
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
  await using temporary = await temporaryFolder()
  await using device = await loopDevice(mebibyte, { readOnly: true })
  await symlink(device.path, temporary.volume)

  await using reader = await temporary.volumes.openSource(source, signal)

  assert.equal(reader.sizeBytes, mebibyte)
  const readOnly = { code: 'VOLUME_WRITE_FAILED', message: /read-only/ }
  await assert.rejects(temporary.volumes.openTarget(volumeId, signal), readOnly)
})

test('a target that vanished before the first write is not made anew', async () => {
  await using temporary = await temporaryFolder()
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
  await using temporary = await temporaryFolder()
  await using device = await loopDevice(2 * mebibyte)
  await symlink(device.path, temporary.volume)
  await using writer = await temporary.volumes.openTarget(volumeId, signal)

  await truncate(device.file, mebibyte)
  await refreshLoopSize(device.path)

  const changed = { code: 'VOLUME_CHANGED', message: /1048576 bytes now and had 2097152/ }
  await assert.rejects(writer.write(0, Uint8Array.of(1)), changed)
})

test('a source that shrinks while it is read says VOLUME_CHANGED', async () => {
  await using temporary = await temporaryFolder()
  await writeFile(temporary.volume, new Uint8Array(8192))
  await using reader = await temporary.volumes.openSource(source, signal)

  await truncate(temporary.volume, 5000)

  await reader.read(0, new Uint8Array(5000))
  const changed = { code: 'VOLUME_CHANGED', message: /ended at byte 5000/ }
  await assert.rejects(reader.read(4096, new Uint8Array(4096)), changed)
})

test('a block device that cannot read names the bad range and fills in nothing', async () => {
  await using temporary = await temporaryFolder()
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

test('a loop device without a file behind it says VOLUME_INVALID_SIZE', async () => {
  await using temporary = await temporaryFolder()
  const device = await loopDevice(mebibyte)
  await symlink(device.path, temporary.volume)
  await device[Symbol.asyncDispose]()

  const opening = temporary.volumes.openSource(source, signal)

  await assert.rejects(opening, (error: Error) => {
    const code = 'code' in error ? error.code : null
    return code === 'VOLUME_INVALID_SIZE' || code === 'VOLUME_NOT_FOUND'
  })
})
