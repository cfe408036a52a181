import assert from 'node:assert/strict'
import { realpath } from 'node:fs/promises'

import { type StoreCall, wrapStore } from '#src/adapters/object-store/wrap-store.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { Run } from '#src/operations/operation.ts'
import type { ObjectStore } from '#src/ports/object-store.ts'
import type { Volumes } from '#src/ports/volumes.ts'
import { agentContainer } from './memory-agent.ts'

const writing = new Set(['putObject', 'deleteObject', 'deleteObjects', 'ensureContainer'])

/** What a watched agent did that none of its requests allows, and how much it did at all. */
export type JobWatch = {
  readonly faults: string[]
  readonly counts: Record<'calls' | 'opens', number>
  watch(run: Run, world: { store: ObjectStore; volumes: Volumes }): typeof world
}

/**
 * Looks over the shoulder of every job: it may ask the store for objects of its own backup, of the backups
 * it builds on, and of no others; and open the volume it was asked for, below `root`.
 */
export function jobWatch(root: string): JobWatch {
  const faults: string[] = []
  const counts = { calls: 0, opens: 0 }
  const fault = (run: Run, what: string) => {
    const { operation, backup } = run.job.request
    faults.push(`${operation} of ${JSON.stringify(backup.record)}: ${what}`)
  }
  const checkOpen = async (run: Run, path: string, id: string) => {
    counts.opens += 1
    const { record } = run.job.request.backup
    const own = [record.volume_id, record.snapshot_id, run.job.request.targetVolumeId]
    if (!own.includes(id)) fault(run, `opened volume ${id}`)
    const real = await realpath(path)
    if (!real.startsWith(`${root}/`)) fault(run, `opened ${path}, which is ${real}`)
  }
  return {
    faults,
    counts,
    watch: (run, { store, volumes }) => ({
      store: wrapStore(store, async (call, work) => {
        counts.calls += 1
        const why = whyForeign(run, call)
        if (why !== null) fault(run, `${call.method} ${call.container} ${call.name}: ${why}`)
        const result = await work()
        const odd = call.container !== null && !isContainer(call.container)
        if (odd) fault(run, `${call.method} in container ${JSON.stringify(call.container)}`)
        return result
      }),
      volumes: {
        async openSource(source, signal) {
          const volume = await volumes.openSource(source, signal)
          await checkOpen(run, volume.path, source.snapshotId ?? source.volumeId)
          return volume
        },
        async openTarget(volumeId, signal) {
          const volume = await volumes.openTarget(volumeId, signal)
          await checkOpen(run, volume.path, volumeId)
          return volume
        },
      },
    }),
  }
}

/** Fails with the first few of them. */
export function assertNoFaults({ faults }: JobWatch): void {
  assert.deepEqual(faults.slice(0, 3), [])
}

function isContainer(name: string): boolean {
  return Buffer.byteLength(name) <= 256 && /^[^/\p{Cc}]+$/u.test(name) && !/^\.\.?$/.test(name)
}

function belongsTo(name: string, { id, volume_id: volumeId }: BackupRecord): boolean {
  const start = `volume_${volumeId}`
  const isPlain = !name.split('/').some((part) => ['', '.', '..'].includes(part))
  return isPlain && name.startsWith(start) && name.slice(start.length).includes(id)
}

function whyForeign(run: Run, { method, container, name }: StoreCall): string | null {
  if (container === null) return null
  const own = run.record()
  const isOwnPlace = container === (own.container ?? agentContainer)
  if (method === 'ensureContainer') return isOwnPlace ? null : 'not its container'
  if (name === null) return 'no name'
  const isOwn = isOwnPlace && belongsTo(name, own)
  if (isOwn && name.startsWith(own.service_metadata ?? '')) return null
  if (writing.has(method)) return 'writes what is not its own'
  const chain = chainOf(run)
  const isChains = chain.some((link) => container === link.container && belongsTo(name, link))
  if (isChains) return null
  // A parent that nobody names by its place is looked for among the backups of the volume.
  const mayLook = run.job.request.operation !== 'delete' || own.status === 'creating'
  return mayLook && name.startsWith(`volume_${own.volume_id}/`) ? null : 'not of its chain'
}

function chainOf(run: Run): readonly BackupRecord[] {
  const chain = [run.record()]
  for (let link = run.job.request.backup.parent; link !== null; link = link.parent)
    chain.push(link.record)
  return chain
}
