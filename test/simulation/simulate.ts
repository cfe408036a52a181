import { mock } from 'node:test'

import { monotonicMs } from '#src/lib/clock.ts'
import { type Draw, seededDraw } from '../support/seeded-draw.ts'
import { noise } from '../support/volume-data.ts'
import { simulatedApi } from './api.ts'
import { brokenInvariants } from './invariants.ts'
import { type Scene, secondMs, settle, stopMsMax, tell } from './scene.ts'
import { blockBytes, startSimulatedAgent, windowBytes } from './simulated-agent.ts'
import { steps, uuidOf } from './steps.ts'
import { virtualTime } from './virtual-time.ts'
import { newWorld, type World } from './world.ts'

/** What became of one seed: `broken` names each invariant that did not hold. */
export type Simulated = {
  readonly seed: string
  readonly broken: readonly string[]
  /** What happened, a line each, to look at where something broke. */
  readonly story: readonly string[]
  readonly runs: number
  readonly crashes: number
  readonly virtualSeconds: number
}

const crashesMax = 12

/** Runs the whole agent under what `seed` decides; the same seed, the same run. */
export async function simulate(seed: string): Promise<Simulated> {
  const draw = seededDraw(seed)
  const chance = mock.method(Math, 'random', draw.share) // Jitter belongs to the run too.
  using time = virtualTime()
  try {
    const world = newWorld()
    const volumeIds = Array.from({ length: 1 + draw.below(3) }, () => newVolume(world, draw))
    const story: string[] = []
    const scene: Scene = {
      ...{ world, draw, time, volumeIds, story, broken: [], crashes: 0 },
      api: simulatedApi(world, monotonicMs, (what) => tell({ story }, what)),
      agent: startSimulatedAgent(world, draw),
    }
    keepAlive(scene)
    await act(scene)
    await calmDown(scene)
    await brokenInvariants(scene)
    scene.agent.stop()
    await time.runUntil(() => false, stopMsMax)
    return {
      ...{ seed, broken: scene.broken, story: scene.story, crashes: scene.crashes },
      runs: new Set(scene.api.heard.map(({ payload }) => payload['run'])).size,
      virtualSeconds: Math.round(time.nowMs() / secondMs),
    }
  } finally {
    chance.mock.restore()
  }
}

function newVolume({ volumes }: World, draw: Draw): string {
  const id = uuidOf(draw)
  const sizeBytes = blockBytes * (1 + draw.below((6 * windowBytes) / blockBytes)) - draw.below(2)
  const bytes = noise(id, sizeBytes)
  for (let at = 0; at < sizeBytes; at += windowBytes) {
    if (draw.share() < 0.3) bytes.fill(0, at, Math.min(sizeBytes, at + windowBytes))
  }
  volumes.set(id, bytes)
  return id
}

/** Starts the agent again whenever it has ended: stopped, crashed or, which breaks a run, by itself. */
function keepAlive(scene: Scene): void {
  const { agent, world, draw } = scene
  const again = (wait: number) =>
    setTimeout(() => {
      tell(scene, 'the agent starts')
      scene.agent = startSimulatedAgent(world, draw)
      keepAlive(scene)
    }, wait)
  agent.ended.then(
    () => {
      if (agent.life.isDead) {
        scene.crashes += 1
        tell(scene, 'the agent is dead')
        if (scene.crashes >= crashesMax) world.crashes = 0
      } else tell(scene, 'the agent has stopped')
      for (const { level, message, fields } of agent.log.lines) {
        if (level === 'error' && /defect/.test(message) && !agent.life.isDead) {
          scene.broken.push(`the log tells of a defect: ${message} ${JSON.stringify(fields)}`)
        }
      }
      again(draw.below(5 * secondMs))
    },
    (error: unknown) => {
      scene.broken.push(`the agent ended by itself: ${(error as Error).stack}`)
      again(secondMs)
    },
  )
}

/** Some of a minute's worth of requests and faults, at moments that the seed chooses. */
async function act(scene: Scene): Promise<void> {
  const { world, draw, time } = scene
  world.storeFaults = draw.of([0, 0.02, 0.1, 0.3])
  world.crashes = draw.of([0, 0, 0.0005, 0.003])
  tell(scene, `store faults ${world.storeFaults}, crashes ${world.crashes}`)
  for (let count = 6 + draw.below(20); count > 0; count -= 1) {
    const step = draw.weighted(steps)
    tell(scene, step.name)
    await step.run(scene)
    const pauseMs = draw.share() < 0.5 ? draw.below(200) : draw.below(15 * secondMs)
    await time.runUntil(() => false, pauseMs)
  }
}

/** Everything heals, and what is in hand ends. */
async function calmDown(scene: Scene): Promise<void> {
  const { world } = scene
  tell(scene, 'all faults end')
  world.storeFaults = 0
  world.crashes = 0
  world.isJournalFull = false
  world.bus.comeBack()
  await settle(scene, 'after the faults')
}
