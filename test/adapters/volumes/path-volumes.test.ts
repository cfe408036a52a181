import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import {
  chmod,
  chown,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { test } from 'node:test'
import { promisify } from 'node:util'

import { pathVolumes } from '#src/adapters/volumes/path-volumes.ts'
import type { Accelerator } from '#src/ports/accelerator.ts'
import { testVolumes } from '../../contracts/volumes.ts'
import { hostAccelerator } from '../../support/host-accelerator.ts'
import { loopDevice } from '../../support/loop-device.ts'
import { volumeFolder, volumeId } from '../../support/volume-folder.ts'

const run = promisify(execFile)
const signal = AbortSignal.timeout(120_000)
const source = { volumeId, snapshotId: null }
const mebibyte = 1024 * 1024

async function files(accelerator: Accelerator | null) {
  const { folder, volumes, ...rest } = await volumeFolder(accelerator)
  return {
    volumes,
    async put(id: string, bytes: Uint8Array) {
      await writeFile(`${folder}/volume-${id}`, bytes)
      await writeFile(`${folder}/_snapshot-${id}`, bytes)
    },
    bytes: async (id: string) => readFile(`${folder}/volume-${id}`),
    async replace(id: string, bytes: Uint8Array) {
      await writeFile(`${folder}/new`, bytes)
      await rename(`${folder}/new`, `${folder}/volume-${id}`)
    },
    [Symbol.asyncDispose]: rest[Symbol.asyncDispose],
  }
}

async function loopDevices(accelerator: Accelerator | null) {
  const temporary = await volumeFolder(accelerator)
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
    bytes: (id: string) => readFile(`${folder}/volume-${id}`),
    replace: put,
    async [Symbol.asyncDispose]() {
      await devices.disposeAsync()
      await temporary[Symbol.asyncDispose]()
    },
  }
}

testVolumes('pathVolumes with files', () => files(null))
testVolumes('pathVolumes with links to loop devices', () => loopDevices(null))
testVolumes('pathVolumes with files and an accelerator', () => files(hostAccelerator()))
testVolumes('pathVolumes with loop devices and an accelerator', () =>
  loopDevices(hostAccelerator()),
)

test('templates are tried in order, and the message names what was tried', async () => {
  await using temporary = await volumeFolder()
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
  await using temporary = await volumeFolder()
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
  await using temporary = await volumeFolder()
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
  await using temporary = await volumeFolder()
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
  await using temporary = await volumeFolder()
  await using elsewhere = await volumeFolder()
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
  await using temporary = await volumeFolder()
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
  await using temporary = await volumeFolder()
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
  await using temporary = await volumeFolder()
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
  await using temporary = await volumeFolder()
  await using device = await loopDevice(mebibyte)
  const { rdev } = await stat(device.path)
  await run('mknod', [`${temporary.folder}/node`, 'b', '7', String(rdev & 0xff)])
  await symlink('node', temporary.volume)

  const opening = temporary.volumes.openTarget(volumeId, signal)

  await assert.rejects(opening, { code: 'VOLUME_OUTSIDE_ROOTS' })
})

test('a dangling link and links in a circle say VOLUME_NOT_FOUND', async () => {
  await using temporary = await volumeFolder()
  const { folder, volumes, volume } = temporary
  const missing = { code: 'VOLUME_NOT_FOUND' }

  await symlink('/dev/cinder-volumes-that-are-not/x', volume)
  await assert.rejects(volumes.openTarget(volumeId, signal), missing)
  await rm(volume)
  await symlink(`${folder}/circle`, volume)
  await symlink(temporary.volume, `${folder}/circle`)
  await assert.rejects(volumes.openTarget(volumeId, signal), missing)
})

test('a folder, a pipe and a character device are no volumes', async () => {
  await using temporary = await volumeFolder()
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
  await using temporary = await volumeFolder()
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
