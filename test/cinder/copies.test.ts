// The copies that cinder-volume makes of volumes in use, while our agent is killed and started again.

import assert from 'node:assert/strict'
import { rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { before, type TestContext, test } from 'node:test'

import { placeOfOurs, stopBackupService } from '../support/backup-service.ts'
import { cinderRows } from '../support/cinder-rows.ts'
import { eventually, memberOf, writtenVolume } from '../support/cinder-volumes.ts'
import { type CinderUser, sumOf } from '../support/real-cinder.ts'
import { serviceScript, services } from '../support/services.ts'

before(stopBackupService)

const runScript = serviceScript()

test('a start that falls into the making of a copy waits for it, and asks for no second one', async (t) => {
  const { demo, place, volume, sum } = await aStage(t)
  await slowCopies(t, 55) // A start asks after 30 seconds where nothing is in the making.
  const backup = await demo.beginBackup(volume, { force: true })
  await eventually(async () => assert.equal((await copiesOf(volume)).length, 1))
  await place.end('SIGKILL')
  await place.start()

  await demo.wait('backup', backup, 'available')

  assert.equal((await copiesOf(volume)).length, 1)
  await assertWhole(demo, backup, volume, sum)
})

test('of two copies that were asked for one makes the backup, and none is left', async (t) => {
  const { demo, place, volume, sum } = await aStage(t)
  t.after(() => runScript('up', 'cinder-volume'))
  await runScript('down', 'cinder-volume')
  const backup = await demo.beginBackup(volume, { force: true })
  await eventually(async () => assert.ok((await waitingForVolumes()) > 0))
  const before = await waitingForVolumes()
  await place.end('SIGKILL')
  await place.start()
  await eventually(async () => assert.ok((await waitingForVolumes()) > before))
  await slowCopies(t, 3)
  await runScript('up', 'cinder-volume')

  await demo.wait('backup', backup, 'available')

  assert.equal((await copiesOf(volume)).length, 2)
  await assertWhole(demo, backup, volume, sum)
})

async function aStage(t: TestContext) {
  const demo = await memberOf(t)
  const [volume, sum] = await writtenVolume(demo)
  await demo.attach(volume)
  const place = await placeOfOurs(t)
  await place.start()
  return { demo, place, volume, sum }
}

/** Whatever cinder-volume copies takes that much longer, until the test ends. */
async function slowCopies(t: TestContext, seconds: number): Promise<void> {
  const file = path.join(services().cinder.volumes, 'copy-seconds')
  t.after(() => rm(file, { force: true }))
  await writeFile(file, String(seconds))
}

/** The rows of all copies that were ever made of a volume, deleted ones too. */
const copiesOf = (volumeId: string) =>
  cinderRows('volumes', `display_name = 'backup-vol-${volumeId}'`)

/** How many messages wait for cinder-volume. */
async function waitingForVolumes(): Promise<number> {
  const { managementUrl, user, password } = services().rabbit
  const answer = await fetch(
    `${managementUrl}/api/queues?disable_stats=true&enable_queue_totals=true`,
    {
      headers: { authorization: `Basic ${btoa(`${user}:${password}`)}` },
      signal: AbortSignal.timeout(30_000),
    },
  )
  const queues = (await answer.json()) as { name: string; messages_ready?: number }[]
  return queues
    .filter(({ name }) => name.startsWith('cinder-volume.'))
    .reduce((sum, { messages_ready: ready = 0 }) => sum + ready, 0)
}

/** The backup holds what the volume did, and nothing temporary is left of it. */
async function assertWhole(
  demo: CinderUser,
  backup: string,
  volume: string,
  sum: string,
): Promise<void> {
  const target = await demo.restore(backup, await demo.createVolume())
  assert.equal(await sumOf(target), sum)
  // What is not finished yet is looked at again after a minute.
  await eventually(async () => {
    const left = (await copiesOf(volume)).filter((row) => !row['deleted'])
    assert.deepEqual(left, [])
  })
  const [row] = await cinderRows('backups', `id = '${backup}'`)
  assert.deepEqual([row?.['temp_volume_id'], row?.['temp_snapshot_id']], [null, null])
}
