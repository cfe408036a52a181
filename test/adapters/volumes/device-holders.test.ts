import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'

import { deviceHolder } from '#src/adapters/volumes/device-holders.ts'

// What device mapper and md leave in sysfs, as a tree of our own: not every kernel has them.
async function kernelTree(files: Readonly<Record<string, string>>) {
  const folder = await mkdtemp(path.join(tmpdir(), 'kernel-tree-'))
  const all = { 'proc/self/mountinfo': '', 'proc/swaps': 'Filename\tType\n', ...files }
  for (const [name, content] of Object.entries(all)) {
    await mkdir(path.dirname(`${folder}/${name}`), { recursive: true })
    await writeFile(`${folder}/${name}`, content)
  }
  return {
    folder,
    kernel: { proc: `${folder}/proc`, sys: `${folder}/sys` },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  }
}

const sdb = {
  path: '/dev/sdb',
  realPath: '/dev/sdb',
  kind: 'block',
  dev: 5n,
  ino: 400n,
  rdev: (8n << 8n) | 16n, // 8:16
} as const

test('a device of which the kernel says nothing is free', async () => {
  await using tree = await kernelTree({ 'sys/dev/block/8:16/size': '2048' })

  assert.equal(await deviceHolder(sdb, tree.kernel), null)
})

test('a device in an LVM volume group is held, by name', async () => {
  await using tree = await kernelTree({
    'sys/dev/block/8:16/holders/dm-3': '',
    'sys/block/dm-3/dm/name': 'cinder--volumes-volume\n',
  })

  const holder = await deviceHolder(sdb, tree.kernel)
  assert.equal(holder, 'held by dm-3 (cinder--volumes-volume)')
})

test('a device with a partition in an md array is held', async () => {
  await using tree = await kernelTree({
    'sys/dev/block/8:16/sdb1/partition': '1\n',
    'sys/dev/block/8:16/sdb1/dev': '8:17\n',
    'sys/dev/block/8:16/sdb1/holders/md0': '',
    'sys/dev/block/8:16/queue/rotational': '1\n',
  })

  assert.equal(await deviceHolder(sdb, tree.kernel), 'its partition sdb1 is held by md0')
})

test('a mount is known by its device number, and its blanks are blanks', async () => {
  const mountinfo =
    '27 1 254:0 / / rw - ext4 /dev/vda rw\n42 27 8:16 / /mnt/a\\040b rw shared:1 - xfs /dev/sdb rw\n'
  await using tree = await kernelTree({ 'proc/self/mountinfo': mountinfo })

  assert.equal(await deviceHolder(sdb, tree.kernel), 'mounted on /mnt/a b')
})

test('a file that is swap is held', async () => {
  await using tree = await kernelTree({})
  const { folder, kernel } = tree
  const swapFile = `${folder}/swap file`
  await writeFile(swapFile, '')
  const escaped = swapFile.replaceAll(' ', '\\040')
  await writeFile(`${folder}/proc/swaps`, `Filename\tType\n${escaped}\tfile\t8\t0\t-2\n`)
  const { dev, ino } = await stat(swapFile, { bigint: true })
  const file = { path: swapFile, realPath: swapFile, kind: 'file', dev, ino, rdev: 0n } as const

  assert.equal(await deviceHolder(file, kernel), 'in use as swap')
  assert.equal(await deviceHolder({ ...file, ino: ino + 1n, realPath: '/x' }, kernel), null)
})

test('where the kernel does not tell what is mounted, nothing is said to be free', async () => {
  await using tree = await kernelTree({})
  await rm(`${tree.folder}/proc/self/mountinfo`)

  await assert.rejects(deviceHolder(sdb, tree.kernel), { code: 'ENOENT' })
})
