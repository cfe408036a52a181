import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'

import { fileSpool } from '#src/adapters/spool/file-spool.ts'
import { hasCode } from '#src/domain/errors.ts'

import { spoolContract } from '../../contracts/spool.ts'
import { smallDisk } from '../../support/small-disk.ts'

const root = await mkdtemp(path.join(os.tmpdir(), 'spool-test-'))
after(() => rm(root, { recursive: true }))
const freshFolder = () => mkdtemp(path.join(root, 'spool-'))

spoolContract('file spool', async () => fileSpool(await freshFolder()))

test('an open spool file has no name that a crash could leave behind', async () => {
  const folder = await freshFolder()
  const spool = await fileSpool(folder)
  await using file = await spool.open()
  await file.append(Uint8Array.of(1, 2, 3))

  assert.deepEqual(await readdir(folder), [])
})

test('a spool removes what another start left in its folder', async () => {
  const folder = await freshFolder()
  await writeFile(path.join(folder, 'left-over'), 'x')

  await fileSpool(folder)

  assert.deepEqual(await readdir(folder), [])
})

test('a spool that cannot be had says JOURNAL_UNAVAILABLE', async () => {
  const file = path.join(await freshFolder(), 'file')
  await writeFile(file, '')

  await assert.rejects(fileSpool(path.join(file, 'spool')), (error) =>
    hasCode(error, 'JOURNAL_UNAVAILABLE'),
  )
})

const jobId = '1bbbfe0c-6ba2-4a12-8f10-0d0a5f2f9b6c'

test('what is kept is there after kill -9, for the next start and no one else', async () => {
  const folder = await freshFolder()
  const modules = path.join(import.meta.dirname, '../../../src/adapters/spool/file-spool.ts')
  const program = `
    const { fileSpool } = await import(${JSON.stringify(modules)})
    const spool = await fileSpool(${JSON.stringify(folder)})
    const file = await spool.keep('${jobId}', 'digests')
    await file.append(new Uint8Array(100_000).fill(1))
    await file.write(50_000, Uint8Array.of(2))
    const scratch = await spool.open()
    await scratch.append(new Uint8Array(100))
    console.log('written')
    setInterval(() => {}, 1000)
  `
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = once(child, 'exit')
  await Promise.race([once(child.stdout, 'data'), exited])
  child.kill('SIGKILL')
  assert.deepEqual(await exited, [null, 'SIGKILL'])

  const spool = await fileSpool(folder)
  await using file = await spool.keep(jobId, 'digests')
  const into = new Uint8Array(100_000)
  await file.read(0, into)

  const expected = new Uint8Array(100_000).fill(1)
  expected[50_000] = 2
  assert.equal(file.sizeBytes, 100_000)
  assert.deepEqual(into, expected)
  const job = path.join(folder, 'kept', jobId)
  assert.equal((await stat(job)).mode & 0o777, 0o700)
  assert.equal((await stat(path.dirname(job))).mode & 0o777, 0o700)
  assert.equal((await stat(path.join(job, 'digests'))).mode & 0o777, 0o600)
  assert.deepEqual(await readdir(folder), ['kept'])
})

test('a link in the place of a kept file is not followed', async () => {
  const folder = await freshFolder()
  const spool = await fileSpool(folder)
  await (await spool.keep(jobId, 'digests'))[Symbol.asyncDispose]()
  const other = path.join(folder, 'other')
  await writeFile(other, 'x')
  await symlink(other, path.join(folder, 'kept', jobId, 'entries'))

  await assert.rejects(spool.keep(jobId, 'entries'), { code: 'JOURNAL_UNAVAILABLE' })
})

test('a write that finds the disk full changes nothing, and says what to do', async (t) => {
  const disk = await smallDisk(t, 256)
  await using file = await (await fileSpool(disk.folder)).keep(jobId, 'digests')
  await file.append(new Uint8Array(1000).fill(1))

  const full = { code: 'JOURNAL_UNAVAILABLE', message: /free space on the disk of state_dir/ }
  await assert.rejects(file.append(new Uint8Array(1_000_000).fill(2)), full)
  assert.equal(file.sizeBytes, 1000)
  await file.write(100_000, Uint8Array.of(3))
  const into = new Uint8Array(100_001)
  await file.read(0, into)

  assert.equal(into.indexOf(2), -1)
  assert.equal(into[100_000], 3)
})
