import { monotonicMs } from '#src/lib/clock.ts'
import type { Draw } from '../support/seeded-draw.ts'
import type { Api } from './api.ts'
import type { SimulatedAgent } from './simulated-agent.ts'
import type { VirtualTime } from './virtual-time.ts'
import type { World } from './world.ts'

export const secondMs = 1000
const hourMs = 3_600_000

/** The longest that a stop in order may take. */
export const stopMsMax = 10 * secondMs

/** A run: all that a step may need. */
export type Scene = {
  readonly world: World
  readonly api: Api
  readonly draw: Draw
  readonly time: VirtualTime
  readonly volumeIds: readonly string[]
  readonly story: string[]
  readonly broken: string[]
  agent: SimulatedAgent
  crashes: number
}

export function tell({ story }: Pick<Scene, 'story'>, what: string): void {
  story.push(`${(monotonicMs() / secondMs).toFixed(2).padStart(8)} s  ${what}`)
}

/** Until nothing is in hand, in a queue or in the outbox. */
export async function settle(scene: Scene, when: string): Promise<void> {
  const { world, time, broken } = scene
  using journal = world.openJournal()
  const queues = ['cinder-backup', 'cinder-backup.host-1']
  const isSettled = () =>
    queues.every((queue) => world.bus.count(queue) === 0) &&
    journal.unfinished().length === 0 &&
    journal.events(1).length === 0
  // Twice: what was just taken from a queue may not be in the journal yet.
  await time.runUntil(isSettled, hourMs)
  await time.runUntil(() => false, 3 * secondMs)
  if (await time.runUntil(isSettled, hourMs)) return
  const jobs = journal.unfinished().map(({ request }) => request.operation)
  broken.push(
    `${when} something is in hand for ever: jobs ${jobs}, events ${journal.events(9).length}`,
  )
}
