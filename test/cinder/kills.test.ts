// Our agent is killed at any moment of its work for a real Cinder, and started again.

import assert from 'node:assert/strict'
import { before, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import type { AgentProcess } from '../support/agent.ts'
import { type OurPlace, placeOfOurs, stopBackupService } from '../support/backup-service.ts'
import { eventually, memberOf } from '../support/cinder-volumes.ts'
import { type CinderUser, sumOf } from '../support/real-cinder.ts'
import { type Deck, type Draw, seededDeck, seededDraw } from '../support/seeded-draw.ts'
import { times } from '../support/soak.ts'
import { testSeed } from '../support/volume-files.ts'
import { type RowChecks, rowChecks } from './killed-rows.ts'
import {
  beginWork,
  fits,
  type Source,
  sourcesOf,
  type Work,
  type WorkKind,
  workKinds,
} from './killed-work.ts'

before(stopBackupService)

/** Objects so small that a kill finds some of them written, and some not. */
const manyObjects = ['[DEFAULT]', 'backup_swift_object_size = 4194304']

/** So long after the start of the agent all that was asked for is over, or has got on since. */
const stuckMs = 60_000

/** When the agent is killed, seen from the work that was asked for. */
const moments = [
  'at once',
  'as it starts',
  'soon after its start',
  'in the middle',
  'some time later',
  'as its work ends',
  'as its row says so',
] as const
type Moment = (typeof moments)[number]

/** Every kind of work at every moment. */
type Card = { readonly kind: WorkKind; readonly moment: Moment }
const cards: readonly Card[] = workKinds.flatMap((kind) =>
  moments.map((moment) => ({ kind, moment })),
)

/** When it is killed once more, seen from its start: four starts that move nothing would end the work. */
const secondMoments = ['as the agent starts', 'as it goes on', null, null] as const
type SecondMoment = (typeof secondMoments)[number]

type Stage = {
  readonly demo: CinderUser
  readonly place: OurPlace
  readonly draw: Draw
  readonly sources: readonly [Source, Source]
  readonly rows: RowChecks
  readonly cards: Deck<Card>
  readonly second: Deck<SecondMoment>
  readonly count: (kind: WorkKind, moment: string) => void
  agent: AgentProcess
}

type Works = readonly [Work, ...Work[]]

/** Something of one source, and now and then something of the other at the same time. */
async function begin(stage: Stage): Promise<{ readonly works: Works; readonly moment: Moment }> {
  const { demo, draw, sources } = stage
  const [first, second] = draw.share() < 0.5 ? sources : ([sources[1], sources[0]] as const)
  const card = stage.cards.next(({ kind }) => fits(kind, first))
  assert.ok(card !== null)
  const one = await beginWork(card.kind, demo, first, draw)
  const kinds = workKinds.filter((kind) => fits(kind, second))
  if (draw.share() < 0.7) return { works: [one], moment: card.moment }
  const other = await beginWork(draw.of(kinds), demo, second, draw)
  return { works: [one, other], moment: card.moment }
}

const started = ({ operation, backupId }: Work) =>
  new RegExp(`${operation} started.*${backupId}|${backupId}.*${operation} started`)

async function reach(work: Work, moment: Moment, { agent, draw }: Stage): Promise<void> {
  switch (moment) {
    case 'at once':
      return
    case 'as it starts':
      return agent.logged(started(work), 60)
    case 'soon after its start':
      await agent.logged(started(work), 60)
      return sleep(draw.below(700))
    case 'in the middle': {
      const before = await work.progress()
      while ((await work.progress()) === before && !(await work.isOver())) await sleep(1)
      return
    }
    case 'some time later':
      return sleep(draw.below(4000))
    case 'as its work ends':
      return agent.logged(new RegExp(`${work.operation} ended.*${work.backupId}`), 120)
    case 'as its row says so':
      while (!(await work.isOver())) await sleep(1)
  }
}

/** Kills the agent at moments of that work, and starts it again; tells how often. */
async function kill(stage: Stage, work: Work, moment: Moment): Promise<number> {
  const { draw, place, count } = stage
  await reach(work, moment, stage)
  await place.end('SIGKILL')
  count(work.kind, moment)
  const second = stage.second.next()
  if (second !== null) {
    const agent = place.spawn()
    if (second === 'as the agent starts') await sleep(draw.below(1500))
    // There may be nothing left to go on with.
    else await Promise.race([agent.logged(started(work), 10), sleep(5000)]).catch(() => undefined)
    await place.end('SIGKILL')
    count(work.kind, `again ${second}`)
  }
  stage.agent = await place.start()
  return second === null ? 1 : 2
}

async function untilOver(work: Work, agent: AgentProcess): Promise<void> {
  let [last, movedAt] = [await work.progress(), performance.now()]
  try {
    while (!(await work.isOver())) {
      await sleep(100)
      const now = await work.progress()
      if (now !== last) [last, movedAt] = [now, performance.now()]
      assert.ok(performance.now() - movedAt < stuckMs, `it does not get on: ${last}`)
    }
  } catch (cause) {
    throw new Error(`${work.kind}: ${work.what}\n${agent.log().slice(-6000)}`, { cause })
  }
}

const keptOf = ({ sources }: Stage) => sources.flatMap(({ backups }) => backups)

async function round(stage: Stage, t: TestContext): Promise<number> {
  const { works, moment } = await begin(stage)
  const kills = await kill(stage, works[0], moment)
  await Promise.all(works.map((work) => untilOver(work, stage.agent)))
  for (const work of works) await work.check()
  // What is temporary is removed after the end is told.
  await eventually(() => stage.rows.check(keptOf(stage).map(({ id }) => id)))
  await checkObjects(stage)
  t.diagnostic(works.map(({ what }) => what).join(', '))
  return kills
}

/** Nothing lies in the store but of the backups that there are. */
async function checkObjects({ demo, sources }: Stage): Promise<void> {
  for (const { id, backups } of sources) {
    const names = await demo.objectsOf(id)
    const strays = names.filter((name) => !backups.some((backup) => name.includes(backup.id)))
    assert.deepEqual(strays, [])
  }
}

async function aStage(t: TestContext, count: Stage['count']): Promise<Stage> {
  const demo = await memberOf(t)
  const place = await placeOfOurs(t, manyObjects)
  const agent = await place.start()
  const rows = await rowChecks(demo)
  const draw = seededDraw(testSeed(t))
  const decks = {
    cards: seededDeck(cards, draw),
    second: seededDeck(secondMoments, draw),
  }
  return { demo, place, draw, agent, rows, count, ...decks, sources: await sourcesOf(demo) }
}

test('killed at any moment, everything that was asked for ends, and every backup comes back', async (t) => {
  const counts = new Map<string, number>()
  const stage = await aStage(t, (kind, moment) => {
    const name = `${kind}, ${moment}`
    counts.set(name, (counts.get(name) ?? 0) + 1)
  })
  const killsMin = times(6, 100)
  let kills = 0
  while (kills < killsMin) kills += await round(stage, t)
  for (const [name, count] of [...counts].sort()) t.diagnostic(`killed ${count} times: ${name}`)
  t.diagnostic(`${kills} kills`)

  const target = await stage.demo.createVolume()
  for (const { id, sum } of keptOf(stage)) {
    await stage.demo.restore(id, target)
    assert.equal(await sumOf(target), sum, `backup ${id} holds something else`)
  }
})
