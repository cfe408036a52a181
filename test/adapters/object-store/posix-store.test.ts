import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { type TestContext, test } from 'node:test'

import { posixStore } from '#src/adapters/object-store/posix-store.ts'
import { collectingSink, listAll, testObjectStore } from '../../contracts/object-store.ts'

const writer = { host: 'node-1', run: 'run-1' }
const signal = AbortSignal.timeout(60_000)

async function folder(t: TestContext): Promise<string> {
  const root = await fs.mkdtemp(path.join(os.tmpdir(), 'posix-store-'))
  t.after(() => fs.rm(root, { recursive: true }))
  return root
}

testObjectStore('posixStore', async (t) => ({
  store: posixStore({ root: await folder(t), writer, pageLimit: 2 }),
  container: 'ab/cd/abcd0000-0000-4000-8000-000000000001',
}))

/** Runs `work` while a file system of its own lies on the folder. */
async function mounted(at: string, options: string, work: () => Promise<void>): Promise<void> {
  execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', at])
  try {
    await work()
  } finally {
    execFileSync('umount', [at])
  }
}

async function opened(t: TestContext) {
  const root = await folder(t)
  const store = posixStore({ root, writer })
  const container = 'ab/cd/backup'
  await store.ensureContainer(container, signal)
  const at = path.join(root, container)
  return { root, store, container, at, id: (name: string) => ({ container, name }) }
}

test('folders are 0770 and files 0660, whatever the umask', async (t) => {
  const umask = process.umask(0o077)
  t.after(() => process.umask(umask))

  const { root, store, at, id } = await opened(t)
  await store.putObject(id('a'), Buffer.of(1), signal)

  const modeOf = async (file: string) => (await fs.stat(file)).mode & 0o7777
  for (const part of ['ab', 'ab/cd', 'ab/cd/backup']) {
    assert.equal(await modeOf(path.join(root, part)), 0o770)
  }
  assert.equal(await modeOf(path.join(at, 'a')), 0o660)
})

test('a root that is missing is made with the first container', async (t) => {
  const root = path.join(await folder(t), 'state', 'backup')

  await posixStore({ root, writer }).ensureContainer('a', signal)

  assert.ok((await fs.stat(path.join(root, 'a'))).isDirectory())
})

test('a root that is missing is no empty store: a listing says STORE_UNAVAILABLE', async (t) => {
  const root = path.join(await folder(t), 'not-mounted')
  const store = posixStore({ root, writer })

  await assert.rejects(store.listPage('a', '', '', signal), { code: 'STORE_UNAVAILABLE' })
  await assert.rejects(store.deleteObject({ container: 'a', name: 'b' }, signal), {
    code: 'STORE_UNAVAILABLE',
  })
})

test('a symbolic link among the folders is refused, and nothing is written behind it', async (t) => {
  const { root, store } = await opened(t)
  const outside = await folder(t)
  await fs.symlink(outside, path.join(root, 'link'))
  await fs.writeFile(path.join(outside, 'secret'), 'secret')

  const invalid = { code: 'CONTAINER_INVALID' }
  for (const container of ['link', 'link/deeper']) {
    const id = { container, name: 'secret' }
    await assert.rejects(store.ensureContainer(container, signal), invalid)
    await assert.rejects(store.putObject(id, Buffer.of(1), signal), invalid)
    await assert.rejects(store.getObject(id, collectingSink(), signal), invalid)
    await assert.rejects(store.listPage(container, '', '', signal), invalid)
    await assert.rejects(store.deleteObject(id, signal), invalid)
  }
  assert.deepEqual(await fs.readdir(outside), ['secret'])
})

test('a symbolic link among the objects is not read, not listed, and replaced by a write', async (t) => {
  const { store, container, at, id } = await opened(t)
  const outside = path.join(await folder(t), 'secret')
  await fs.writeFile(outside, 'secret')
  await fs.symlink(outside, path.join(at, 'link'))

  await assert.rejects(store.getObject(id('link'), collectingSink(), signal), {
    code: 'STORE_REFUSED',
  })
  assert.deepEqual(await store.listPage(container, '', '', signal), [])
  await store.putObject(id('link'), Buffer.from('ours'), signal)

  assert.equal(await fs.readFile(outside, 'utf8'), 'secret')
  assert.equal(await fs.readFile(path.join(at, 'link'), 'utf8'), 'ours')
})

test('what is no regular file is neither listed nor waited for', async (t) => {
  const { store, container, at, id } = await opened(t)
  await fs.mkdir(path.join(at, 'folder'))
  execFileSync('mkfifo', [path.join(at, 'pipe')])

  assert.deepEqual(await store.listPage(container, '', '', signal), [])
  for (const name of ['folder', 'pipe']) {
    await assert.rejects(store.getObject(id(name), collectingSink(), signal), {
      code: 'STORE_REFUSED',
    })
  }
})

test('an object name with a slash or a dot in front is refused', async (t) => {
  const { store, id } = await opened(t)

  for (const name of ['a/b', '.a']) {
    await assert.rejects(store.putObject(id(name), Buffer.of(1), signal), { code: 'STORE_REFUSED' })
  }
})

test('while it is written an object is in no listing, neither ours nor by its prefix', async (t) => {
  const { store, container, at, id } = await opened(t)
  const seen: { ours: number; prefixed: number; files: number }[] = []
  const body = {
    sizeBytes: 4,
    open: async function* () {
      yield Buffer.from('ab')
      const files = await fs.readdir(at)
      seen.push({
        ours: (await store.listPage(container, '', '', signal)).length,
        prefixed: files.filter((name) => name.startsWith('volume_1')).length,
        files: files.length,
      })
      yield Buffer.from('cd')
    },
  }

  await store.putObject(id('volume_1-00001'), body, signal)

  assert.deepEqual(seen, [{ ours: 0, prefixed: 0, files: 1 }])
  assert.deepEqual(await fs.readdir(at), ['volume_1-00001'])
})

test('a listing removes what an earlier run left unfinished under the prefix, and nothing else', async (t) => {
  const { root, at, container, id } = await opened(t)
  const unfinished = async (host: string, run: string, name: string) => {
    const before = await fs.readdir(at)
    const open = async function* () {
      yield Buffer.from('ab')
      const made = (await fs.readdir(at)).filter((file) => !before.includes(file))
      // A crash leaves the file as it is: a second link survives the clean-up of this put.
      for (const file of made) {
        const crashed = file.replace(/\.[0-9a-f]{8}\.part$/, '.00000000.part')
        await fs.link(path.join(at, file), path.join(at, crashed))
      }
    }
    const store = posixStore({ root, writer: { host, run } })
    await store.putObject(id(name), { sizeBytes: 2, open }, signal)
    await store.deleteObject(id(name), signal)
  }
  await unfinished('node-1', 'run-0', 'volume_1-00001')
  await unfinished('node-1', 'run-0', 'volume_2-00001')
  await unfinished('node-1', 'run-1', 'volume_1-00002')
  await unfinished('node-2', 'run-9', 'volume_1-00003')
  await unfinished('node-2', 'run-9', 'volume_1-00004')
  const left = (await fs.readdir(at)).filter((file) => file.includes('volume_1-00004'))
  for (const file of left) await fs.utimes(path.join(at, file), 1_000_000, 1_000_000)
  await fs.writeFile(path.join(at, '.not-ours'), '')

  await posixStore({ root, writer }).listPage(container, 'volume_1', '', signal)

  const names = (await fs.readdir(at)).map((file) => file.replace(/\.[0-9a-f]{8}.*$/, '')).sort()
  assert.deepEqual(names, ['.not-ours', '.volume_1-00002', '.volume_1-00003', '.volume_2-00001'])
})

test('a folder of many files is listed in pages that hold all of them once', async (t) => {
  const { root, container, at } = await opened(t)
  const names = Array.from({ length: 257 }, (_, i) => `p-${String(i).padStart(5, '0')}`)
  for (const name of names.toReversed()) {
    await fs.writeFile(path.join(at, name), name)
  }

  const listed = await listAll(posixStore({ root, writer, pageLimit: 10 }), container, 'p-', signal)

  assert.deepEqual(
    listed.map(({ name }) => name),
    names,
  )
})

test('a full file system says STORE_FULL and leaves nothing behind', async (t) => {
  const { store, at, id } = await opened(t)

  await mounted(at, 'size=1m', async () => {
    await assert.rejects(store.putObject(id('a'), randomBytes(2 * 1024 * 1024), signal), {
      code: 'STORE_FULL',
    })
    assert.deepEqual(await fs.readdir(at), [])
  })
})

test('a read-only file system says STORE_FORBIDDEN', async (t) => {
  const { store, container, at, id } = await opened(t)

  await mounted(at, 'ro', async () => {
    await assert.rejects(store.putObject(id('a'), Buffer.of(1), signal), {
      code: 'STORE_FORBIDDEN',
    })
    assert.deepEqual(await store.listPage(container, '', '', signal), [])
  })
})

test('a file that is cut while it is read says DOWNLOAD_CORRUPT', async (t) => {
  const { store, at, id } = await opened(t)
  await store.putObject(id('a'), randomBytes(3 * 1024 * 1024), signal)
  const cutting = { start: () => fs.truncate(path.join(at, 'a'), 1024 * 1024), write: () => {} }

  await assert.rejects(store.getObject(id('a'), cutting, signal), { code: 'DOWNLOAD_CORRUPT' })
})
