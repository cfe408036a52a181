// Our agent is killed at any moment of its work for a real Cinder, and started again.

import assert from 'node:assert/strict'
import { stat } from 'node:fs/promises'
import { before, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import type { AgentProcess } from '../support/agent.ts'
import { type OurPlace, placeOfOurs, stopBackupService } from '../support/backup-service.ts'
import { cinderRows } from '../support/cinder-rows.ts'
import {
  backupsInUse,
  change,
  eventually,
  memberOf,
  writtenVolume,
} from '../support/cinder-volumes.ts'
import { type BackupRequest, type CinderUser, sumOf, volumeFile } from '../support/real-cinder.ts'
import { type Draw, seededDraw } from '../support/seeded-draw.ts'
import { times } from '../support/soak.ts'
import { testSeed } from '../support/volume-files.ts'

before(stopBackupService)

/** Objects so small that a kill finds some of them written, and some not. */
const manyObjects = ['[DEFAULT]', 'backup_swift_object_size = 4194304']

/** What is asked of the agent is over, or gets on, as often as this. */
const stuckMs = 60_000

/** A volume, the sum of what it holds now, and its backups with the sums of what they hold, oldest first. */
type Source = {
  readonly id: string
  readonly isUsed: boolean
  readonly snapshot: { readonly id: string; readonly sum: string } | null
  sum: string
  readonly backups: { readonly id: string; readonly sum: string }[]
}

type Stage = {
  readonly demo: CinderUser
  readonly place: OurPlace
  readonly draw: Draw
  readonly sources: readonly Source[]
  agent: AgentProcess
}

/** Something that was asked for: where it can be seen to get on, and whether it is over. */
type Asked = {
  readonly what: string
  readonly logged: RegExp
  /** Another text whenever it got on. */
  state(): Promise<string>
  isOver(): Promise<boolean>
}

async function sourcesOf(demo: CinderUser): Promise<readonly Source[]> {
  const [idle, idleSum] = await writtenVolume(demo, 24)
  const snapshot = { id: await demo.createSnapshot(idle), sum: idleSum }
  const [used, usedSum] = await writtenVolume(demo, 24)
  await demo.attach(used)
  return [
    { id: idle, isUsed: false, snapshot, sum: await change(idle), backups: [] },
    { id: used, isUsed: true, snapshot: null, sum: usedSum, backups: [] },
  ]
}

async function begin(stage: Stage): Promise<Asked> {
  const { demo, draw, sources } = stage
  const source = draw.of(sources)
  const last = source.backups.at(-1)
  const choice = draw.share()
  if (last === undefined || choice < 0.4) return beginCreate(demo, draw, source)
  if (choice < 0.7) return beginRestore(demo, draw.of(source.backups).id)
  source.backups.pop()
  await demo.call('DELETE', `/backups/${last.id}`)
  return {
    what: `delete of ${last.id}`,
    logged: /delete started/,
    state: async () => String((await demo.objectsOf(last.id)).length),
    isOver: async () => (await demo.find('backup', last.id)) === null,
  }
}

async function beginCreate(demo: CinderUser, draw: Draw, source: Source): Promise<Asked> {
  const snapshot = draw.share() < 0.4 ? source.snapshot : null
  if (snapshot === null) source.sum = await change(source.id)
  const request: BackupRequest =
    snapshot === null
      ? { force: source.isUsed, incremental: source.backups.length > 0 && draw.share() < 0.6 }
      : { snapshot_id: snapshot.id }
  const id = await demo.beginBackup(source.id, request)
  // One of a snapshot is older than others: nothing may be taken for its child.
  source.backups.push({ id, sum: snapshot?.sum ?? source.sum })
  return {
    what: `create of ${id} ${JSON.stringify(request)}`,
    logged: /create started/,
    state: async () => String((await demo.objectsOf(id)).length),
    async isOver() {
      const { status, fail_reason: reason } = await demo.get('backup', id)
      assert.notEqual(status, 'error', String(reason))
      return status === 'available'
    },
  }
}

async function beginRestore(demo: CinderUser, backupId: string): Promise<Asked> {
  const target = await demo.createVolume()
  const restore = { volume_id: target }
  await demo.call('POST', `/backups/${backupId}/restore`, { restore })
  return {
    what: `restore of ${backupId} onto ${target}`,
    logged: /restore started/,
    state: async () => String((await stat(volumeFile(target))).blocks),
    async isOver() {
      const { status } = await demo.get('volume', target)
      assert.ok(['restoring-backup', 'available'].includes(status), status)
      return status === 'available' && (await demo.get('backup', backupId)).status === 'available'
    },
  }
}

/** Kills the agent at a moment of that work, and starts it again. */
async function kill(stage: Stage, asked: Asked): Promise<string> {
  const { draw, place, agent } = stage
  const delayMs = draw.below(4000)
  const moment = draw.of(['some time later', 'as it starts', 'as it ends'] as const)
  if (moment === 'some time later') await sleep(delayMs)
  if (moment === 'as it starts') await agent.logged(asked.logged, 120)
  // The row says so before the journal does.
  if (moment === 'as it ends') await eventually(async () => assert.ok(await asked.isOver()), 1)
  await place.end('SIGKILL')
  stage.agent = await place.start()
  return moment
}

async function untilOver({ what, state, isOver }: Asked): Promise<void> {
  let [last, movedAt] = ['', performance.now()]
  while (!(await isOver())) {
    const now = await state()
    if (now !== last) [last, movedAt] = [now, performance.now()]
    assert.ok(performance.now() - movedAt < stuckMs, `${what} does not get on: ${last}`)
    await sleep(200)
  }
}

/** All that must hold when nothing is in hand. */
async function checkAll({ demo, sources }: Stage): Promise<void> {
  const kept = sources.flatMap(({ backups }) => backups)
  const target = await demo.createVolume()
  for (const { id, sum } of kept) {
    await demo.restore(id, target)
    assert.equal(await sumOf(target), sum, `backup ${id} holds something else`)
    const children = await cinderRows('backups', `parent_id = '${id}' AND NOT deleted`)
    const [row] = await cinderRows('backups', `id = '${id}'`)
    assert.equal(row?.['num_dependent_backups'] ?? 0, children.length)
  }
  await eventually(async () => {
    const named = `display_name LIKE 'backup-%' AND NOT deleted`
    for (const table of ['volumes', 'snapshots']) {
      assert.deepEqual(await cinderRows(table, named), [], `${table} are left`)
      const held = `status IN ('backing-up', 'restoring-backup') AND NOT deleted`
      assert.deepEqual(await cinderRows(table, held), [])
    }
  })
}

async function aStage(t: TestContext): Promise<Stage> {
  const demo = await memberOf(t)
  const place = await placeOfOurs(t, manyObjects)
  const agent = await place.start()
  const draw = seededDraw(testSeed(t))
  return { demo, place, draw, agent, sources: await sourcesOf(demo) }
}

test('killed at any moment, everything that was asked for ends, and every backup comes back', async (t) => {
  const stage = await aStage(t)
  const { demo } = stage
  const inUse = await backupsInUse(demo)
  const kills = times(4, 100)
  for (let done = 0; done < kills; done += 1) {
    const asked = await begin(stage)
    const moment = await kill(stage, asked)
    t.diagnostic(`${asked.what}: killed ${moment}`)
    await untilOver(asked)
  }
  const made = stage.sources.flatMap(({ backups }) => backups).length
  assert.equal(await backupsInUse(demo), inUse + made)
  await checkAll(stage)
})
