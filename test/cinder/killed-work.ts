import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { stat } from 'node:fs/promises'

import { change, writtenVolume } from '../support/cinder-volumes.ts'
import {
  type BackupRequest,
  type CinderUser,
  gibibyte,
  sumOf,
  volumeFile,
  writeVolume,
} from '../support/real-cinder.ts'
import type { Draw } from '../support/seeded-draw.ts'
import { noise } from '../support/volume-data.ts'

// What is asked of a backup service in the test of kills, and what must have come of it.

/** A volume, the sum of what it holds now, and its backups with the sums of what they hold, oldest first. */
export type Source = {
  readonly id: string
  readonly isUsed: boolean
  sum: string
  readonly backups: Backup[]
}

type Backup = { readonly id: string; readonly sum: string }

/** Something that was asked for: where it can be seen to get on, and whether it is over. */
export type Work = {
  readonly kind: WorkKind
  readonly what: string
  readonly operation: 'create' | 'restore' | 'delete'
  readonly backupId: string
  /** Another number whenever it got on. */
  progress(): Promise<number>
  /** Fails where it has ended otherwise than it was wanted. */
  isOver(): Promise<boolean>
  /** What must hold once it is over. */
  check(): Promise<void>
}

type Begin = (demo: CinderUser, source: Source, draw: Draw) => Promise<Omit<Work, 'kind'>>

export async function sourcesOf(demo: CinderUser): Promise<readonly [Source, Source]> {
  const [idle, idleSum] = await writtenVolume(demo, 24)
  const [used, usedSum] = await writtenVolume(demo, 24)
  await demo.attach(used)
  return [
    { id: idle, isUsed: false, sum: idleSum, backups: [] },
    { id: used, isUsed: true, sum: usedSum, backups: [] },
  ]
}

/** Which source a kind is about, whether there must be a backup of it, and how it begins. */
type Kind = { readonly isUsed?: boolean; readonly needsBackup: boolean; readonly begin: Begin }

const kinds = {
  'create full': { isUsed: false, needsBackup: false, begin: create({}) },
  'create incremental': { isUsed: false, needsBackup: true, begin: create({ incremental: true }) },
  'create of a snapshot': { isUsed: false, needsBackup: false, begin: ofSnapshot({}) },
  'create incremental of a snapshot': {
    ...{ isUsed: false, needsBackup: true, begin: ofSnapshot({ incremental: true }) },
  },
  'create in use': { isUsed: true, needsBackup: false, begin: create({ force: true }) },
  'create incremental in use': {
    ...{ isUsed: true, needsBackup: true, begin: create({ force: true, incremental: true }) },
  },
  'restore to a new volume': { needsBackup: true, begin: restore(async () => null) },
  'restore over other data': { needsBackup: true, begin: restore(otherVolume) },
  'restore over its own volume': { isUsed: false, needsBackup: true, begin: restoreOwn },
  delete: { needsBackup: true, begin: remove },
} satisfies Readonly<Record<string, Kind>>

export type WorkKind = keyof typeof kinds

/** As often as what is made is deleted, nearly: what is kept must be restored at the end. */
export const workKinds: readonly WorkKind[] = [
  ...(Object.keys(kinds) as WorkKind[]),
  ...(['delete', 'delete'] as const),
]

export function fits(kind: WorkKind, source: Source): boolean {
  const { isUsed = source.isUsed, needsBackup }: Kind = kinds[kind]
  return isUsed === source.isUsed && (!needsBackup || source.backups.length > 0)
}

export async function beginWork(
  kind: WorkKind,
  demo: CinderUser,
  source: Source,
  draw: Draw,
): Promise<Work> {
  return { kind, ...(await kinds[kind].begin(demo, source, draw)) }
}

function create(request: BackupRequest): Begin {
  return async (demo, source) => {
    source.sum = await change(source.id)
    return creation(demo, source, request)
  }
}

function ofSnapshot(request: BackupRequest): Begin {
  return async (demo, source) => {
    source.sum = await change(source.id)
    const snapshot_id = await demo.createSnapshot(source.id)
    const created = await creation(demo, source, { ...request, snapshot_id })
    source.sum = await change(source.id)
    return {
      ...created,
      async check() {
        await created.check()
        assert.equal((await demo.get('snapshot', snapshot_id)).status, 'available')
        await demo.delete('snapshot', snapshot_id)
      },
    }
  }
}

async function creation(demo: CinderUser, source: Source, request: BackupRequest) {
  const { sum } = source
  const id = await demo.beginBackup(source.id, request)
  return {
    what: `create of ${id}`,
    operation: 'create' as const,
    backupId: id,
    progress: async () => (await demo.objectsOf(id)).length,
    async isOver() {
      const { status, fail_reason: reason } = await demo.get('backup', id)
      assert.ok(['creating', 'available'].includes(status), `it is ${status}: ${reason}`)
      return status === 'available'
    },
    async check() {
      const { is_incremental: isIncremental } = await demo.get('backup', id)
      assert.equal(isIncremental, request.incremental ?? false)
      source.backups.push({ id, sum })
    },
  }
}

/** `targetOf` makes a volume to restore onto; null: Cinder makes one. */
function restore(targetOf: (demo: CinderUser) => Promise<string | null>): Begin {
  return async (demo, source, draw) => {
    const { id, sum } = draw.of(source.backups)
    const target = await demo.beginRestore(id, await targetOf(demo))
    const begun = restoration(demo, id, sum, target)
    return {
      ...begun,
      async check() {
        await begun.check()
        await demo.delete('volume', target)
      },
    }
  }
}

async function restoreOwn(demo: CinderUser, source: Source, draw: Draw) {
  const { id, sum } = draw.of(source.backups)
  source.sum = sum
  await demo.beginRestore(id, source.id)
  return restoration(demo, id, sum, source.id)
}

function restoration(demo: CinderUser, id: string, sum: string, target: string) {
  return {
    what: `restore of ${id} onto ${target}`,
    operation: 'restore' as const,
    backupId: id,
    progress: async () => (await stat(volumeFile(target))).blocks,
    async isOver() {
      const { status } = await demo.get('volume', target)
      assert.ok(['restoring-backup', 'available'].includes(status), `the volume is ${status}`)
      const { status: ofBackup } = await demo.get('backup', id)
      assert.ok(['restoring', 'available'].includes(ofBackup), `the backup is ${ofBackup}`)
      return status === 'available' && ofBackup === 'available'
    },
    check: async () => assert.equal(await sumOf(target), sum, `what came back of ${id}`),
  }
}

/** A volume full of something else, also where the backup has zeros. */
async function otherVolume(demo: CinderUser): Promise<string> {
  const id = await demo.createVolume()
  const mebibyte = 2 ** 20
  await writeVolume(id, noise(randomUUID(), 60 * mebibyte), 20 * mebibyte)
  await writeVolume(id, noise(randomUUID(), mebibyte), gibibyte - mebibyte)
  return id
}

async function remove(demo: CinderUser, source: Source): Promise<Omit<Work, 'kind'>> {
  // The youngest: nothing leans on it.
  const last = source.backups.pop()
  if (last === undefined) throw new Error('there is nothing to delete')
  const { id } = last
  await demo.call('DELETE', `/backups/${id}`)
  return {
    what: `delete of ${id}`,
    operation: 'delete',
    backupId: id,
    progress: async () => (await demo.objectsOf(id)).length,
    async isOver() {
      const found = await demo.find('backup', id)
      assert.ok(found === null || found.status === 'deleting', `it is ${found?.status}`)
      return found === null
    },
    check: async () => assert.deepEqual(await demo.objectsOf(id), []),
  }
}
