import type { Draw } from '../support/seeded-draw.ts'
import { noise } from '../support/volume-data.ts'
import type { AskedBackup } from './api.ts'
import { type Scene, secondMs, stopMsMax } from './scene.ts'
import { windowBytes } from './simulated-agent.ts'

export type Step = {
  readonly weight: number
  readonly name: string
  readonly run: (scene: Scene) => Promise<void> | void
}

export function uuidOf(draw: Draw): string {
  const hex = Array.from({ length: 32 }, () => draw.below(16).toString(16)).join('')
  const parts = [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `4${hex.slice(13, 16)}`,
    `8${hex.slice(17, 20)}`,
  ]
  return [...parts, hex.slice(20)].join('-')
}

const living = ({ api }: Scene) =>
  api.backups.filter(({ isCreateAsked, isDeleteAsked }) => isCreateAsked && !isDeleteAsked)
const isAvailable = ({ api }: Scene, backup: AskedBackup) =>
  api.recordOf(backup).status === 'available'

/** As Cinder's API: a backup with others that build on it is not deleted. */
export function deletable({ api }: Pick<Scene, 'api'>): readonly AskedBackup[] {
  const isParent = (one: AskedBackup) =>
    api.backups.some(({ parent, isDeleteAsked }) => parent === one && !isDeleteAsked)
  return api.backups.filter((one) => !one.isDeleteAsked && !isParent(one))
}

export const steps: readonly Step[] = [
  {
    ...{ weight: 4, name: 'asks for a full backup' },
    run: ({ api, draw, volumeIds }) => api.create(api.newBackup(draw.of(volumeIds), null)),
  },
  {
    ...{ weight: 5, name: 'asks for an increment' },
    run: (scene) => {
      const { api, draw } = scene
      const parents = living(scene).filter((one) => isAvailable(scene, one) || draw.share() < 0.1)
      if (parents.length === 0) return
      const parent = draw.of(parents)
      api.create(api.newBackup(parent.record.volume_id, parent))
    },
  },
  {
    ...{ weight: 5, name: 'asks for a restore' },
    run: (scene) => {
      const { api, draw } = scene
      // Cinder's API asks for no other than `available` ones; now and then a request comes too early.
      const isEarly = ({ id, isCreateAsked }: AskedBackup) =>
        isCreateAsked && !api.heard.some(({ payload }) => payload['backup_id'] === id)
      const some = api.backups.filter((one) => isAvailable(scene, one) || isEarly(one))
      if (some.length === 0) return
      const backup = draw.of(some)
      api.restore(backup, noise(`dirt ${backup.id}`, backup.bytes.byteLength))
    },
  },
  {
    ...{ weight: 1, name: 'asks for the same restore once more' },
    run: ({ api, draw }) => {
      const found = api.targets.filter(({ backup }) => api.recordOf(backup).status === 'available')
      if (found.length > 0) api.restoreAgain(draw.of(found))
    },
  },
  {
    ...{ weight: 3, name: 'asks for a delete' },
    run: (scene) => {
      const some = deletable(scene)
      if (some.length > 0) scene.api.remove(scene.draw.of(some))
    },
  },
  {
    ...{ weight: 1, name: 'asks for a delete before the create' },
    run: ({ api, draw, volumeIds }) => {
      const backup = api.newBackup(draw.of(volumeIds), null)
      api.remove(backup)
      api.create(backup)
    },
  },
  {
    ...{ weight: 1, name: 'asks for a create once more' },
    run: (scene) => {
      const some = living(scene)
      if (some.length > 0) scene.api.create(scene.draw.of(some))
    },
  },
  {
    ...{ weight: 3, name: 'sends a message twice' },
    run: ({ api, draw }) => {
      if (api.sent.length > 0) api.repeat(draw.of(api.sent))
    },
  },
  {
    ...{ weight: 4, name: 'writes to a volume' },
    run: ({ world, draw, volumeIds }) => {
      const id = draw.of(volumeIds)
      const bytes = Buffer.from(world.volumes.get(id) ?? [])
      const start = draw.below(bytes.byteLength)
      const changed = noise(uuidOf(draw), draw.below(windowBytes))
      if (draw.share() < 0.3) changed.fill(0)
      changed.copy(bytes, start)
      world.volumes.set(id, bytes)
    },
  },
  {
    ...{ weight: 1, name: 'the broker goes away' },
    run: ({ world, draw }) => {
      world.bus.goDown()
      setTimeout(() => world.bus.comeBack(), draw.below(30 * secondMs))
    },
  },
  {
    ...{ weight: 1, name: 'the journal is full' },
    run: ({ world, draw }) => {
      world.isJournalFull = true
      setTimeout(
        () => {
          world.isJournalFull = false
        },
        draw.below(20 * secondMs),
      )
    },
  },
  {
    ...{ weight: 2, name: 'the agent is told to stop' },
    run: async (scene) => {
      const { agent, time, broken } = scene
      let hasEnded = false
      const note = () => {
        hasEnded = true
      }
      agent.ended.then(note, note)
      agent.stop()
      const inTime = await time.runUntil(() => hasEnded, stopMsMax)
      if (!inTime) broken.push(`a stop took more than ${stopMsMax / secondMs} s`)
    },
  },
  { weight: 2, name: 'the agent crashes', run: ({ agent }) => agent.life.crash() },
]
