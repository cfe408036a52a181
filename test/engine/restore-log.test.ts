import assert from 'node:assert/strict'
import { test } from 'node:test'

import { memorySpool } from '#src/adapters/spool/memory-spool.ts'
import type { RestoreLink } from '#src/domain/restore-plan.ts'
import { openRecordLog } from '#src/engine/record-log.ts'
import { openRestoreLog, type RestoreLog } from '#src/engine/restore-log.ts'

function aLink(fields: Partial<RestoreLink> = {}): RestoreLink {
  const backupId = '1bbbfe0c-6ba2-4a12-8f10-0d0a5f2f9b6c'
  const chunks = async function* () {}
  return {
    ...{ backupId, parentId: null, container: 'backups', endBytes: 4096, zeroFilledBytes: 0 },
    chunks,
    ...fields,
  }
}

const links = [aLink(), aLink({ backupId: 'c3d0ab0e-3f0d-4c8e-b6a5-5a8d1b2f0f11' })]
const target = { identity: 'device 8:1', epoch: 'boot 1' }
const steps = [0, 1, 2, 3, 4, 5, 10_000, 20_000]

const doneSteps = (log: RestoreLog) => steps.filter((step) => log.isDone(step))

/** A log of which the steps 0 and 20000 are synced, and 2 and 5 are not. */
async function aFile() {
  const file = await memorySpool().open()
  const log = await openRestoreLog(file, links, target)
  assert.deepEqual(doneSteps(log), [])
  await log.add(0, 10)
  await log.add(20_000, 20)
  const count = log.count()
  await log.add(2, 40)
  await log.synced(count)
  await log.add(5, 80)
  assert.deepEqual(doneSteps(log), [0, 2, 5, 20_000])
  return file
}

test('while the host runs, what was written is done', async () => {
  const log = await openRestoreLog(await aFile(), links, target)

  assert.deepEqual(doneSteps(log), [0, 2, 5, 20_000])
  assert.equal(log.count(), 4)
  assert.equal(log.doneBytes(), 150)
})

test('after the host has begun anew, only what was synced is done, and stays so', async () => {
  const file = await aFile()
  const later = { ...target, epoch: 'boot 2' }

  const log = await openRestoreLog(file, links, later)
  assert.deepEqual(doneSteps(log), [0, 20_000])
  await log.add(3, 160)
  assert.equal(log.doneBytes(), 190)
  const again = await openRestoreLog(file, links, later)
  assert.deepEqual(doneSteps(again), [0, 3, 20_000])
  assert.equal(again.doneBytes(), 190)
  const atLast = await openRestoreLog(file, links, { ...target, epoch: 'boot 3' })
  assert.deepEqual(doneSteps(atLast), [0, 20_000])
  assert.equal(atLast.doneBytes(), 30)
})

test('what was added and synced later counts too', async () => {
  const file = await aFile()
  const log = await openRestoreLog(file, links, target)
  await log.add(3, 160)
  await log.synced(log.count())

  const later = await openRestoreLog(file, links, { ...target, epoch: 'boot 2' })

  assert.deepEqual(doneSteps(later), [0, 2, 3, 5, 20_000])
})

for (const [what, otherLinks, otherTarget] of [
  ['onto another volume', links, { ...target, identity: 'device 8:2' }],
  ['of fewer backups', links.slice(0, 1), target],
  ['of other backups', [aLink({ backupId: 'x' }), aLink()], target],
  ['of another length', [aLink({ endBytes: 8192 }), ...links.slice(1)], target],
] as const) {
  test(`of a restore ${what} nothing is done`, async () => {
    const log = await openRestoreLog(await aFile(), otherLinks, otherTarget)

    assert.deepEqual(doneSteps(log), [])
    assert.equal(log.count(), 0)
    assert.equal(log.doneBytes(), 0)
  })
}

test('a file that is no log is begun anew', async () => {
  const file = await memorySpool().open()
  await file.append(Buffer.from('nothing that anybody knows'))
  const log = await openRestoreLog(file, links, target)
  await log.add(4, 10)

  assert.deepEqual(doneSteps(await openRestoreLog(file, links, target)), [4])
})

test('the steps that an agent noted before lengths were noted are done', async () => {
  const file = await memorySpool().open()
  const { header } = await openRecordLog(await aFile())
  const records = await openRecordLog(file)
  await records.restart(String(header))
  for (const step of [1, 4]) await records.append(Buffer.from(Uint32Array.of(step).buffer))

  const log = await openRestoreLog(file, links, target)
  assert.deepEqual(doneSteps(log), [1, 4])
  assert.equal(log.doneBytes(), 0)
})
