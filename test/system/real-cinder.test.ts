// The agent in cinder-backup's place, under a real Cinder; test/cinder has the rest of it.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'

import { placeOfOurs } from '../support/backup-service.ts'
import { cinderRows } from '../support/cinder-rows.ts'
import { runCinder } from '../support/cinder-run.ts'
import {
  backupsInUse,
  change,
  eventually,
  memberOf,
  writtenVolume,
} from '../support/cinder-volumes.ts'
import { sumOf } from '../support/real-cinder.ts'
import { Stopwatch } from '../support/stopwatch.ts'

const cinder = runCinder()
const watch = new Stopwatch('our agent under a real Cinder')
before(() => watch.time('start of Cinder', cinder.begin))
after(async () => {
  await watch.time('stop of Cinder', cinder.end)
  watch.print()
})

/** Objects so small that a kill finds some of them written, and some not. */
const manyObjects = ['[DEFAULT]', 'backup_swift_object_size = 4194304']

test('a chain is made, outlives a kill, comes back and goes', async (t) => {
  const demo = await memberOf(t)
  const ours = await placeOfOurs(t, manyObjects)
  await ours.start()
  const inUse = await backupsInUse(demo)
  const [volume, first] = await writtenVolume(demo, 48)

  const full = await demo.beginBackup(volume)
  await eventually(async () => assert.ok((await demo.objectsOf(full)).length > 0), 20)
  await ours.end('SIGKILL')
  assert.equal((await demo.get('backup', full)).status, 'creating', 'it was killed too late')
  await watch.time('start after the kill', ours.start)
  await watch.time('the full backup goes on', () => demo.wait('backup', full, 'available'))

  const second = await change(volume)
  const increment = await watch.time('incremental', () =>
    demo.createBackup(volume, { incremental: true }),
  )
  assert.equal((await demo.get('backup', increment))['is_incremental'], true)
  assert.equal((await demo.get('backup', full))['has_dependent_backups'], true)
  assert.equal((await demo.get('volume', volume)).status, 'available')
  assert.equal(await backupsInUse(demo), inUse + 2)

  const made = await watch.time('restore, a new volume', () => demo.restore(increment))
  assert.equal(await sumOf(made), second)
  await watch.time('restore, its own volume', () => demo.restore(full, volume))
  assert.equal(await sumOf(volume), first)

  for (const id of [increment, full]) {
    await watch.time('delete', () => demo.delete('backup', id))
    assert.deepEqual(await demo.objectsOf(id), [])
    const [row] = await cinderRows('backups', `id = '${id}'`)
    assert.equal(row?.['status'], 'deleted')
    assert.equal(row?.['num_dependent_backups'] ?? 0, 0)
  }
  assert.equal(await backupsInUse(demo), inUse)
})
