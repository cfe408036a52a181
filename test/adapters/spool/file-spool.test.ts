import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'

import { fileSpool } from '#src/adapters/spool/file-spool.ts'
import { hasCode } from '#src/domain/errors.ts'

import { spoolContract } from '../../contracts/spool.ts'

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
