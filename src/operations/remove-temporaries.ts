import { randomUUID } from 'node:crypto'

import type { BackupRecord } from '../domain/backup-record.ts'
import { administratorContext } from '../domain/request-context.ts'
import { bell } from '../lib/bell.ts'
import { delay, wallClockMs } from '../lib/clock.ts'
import type { BlockStorage } from '../ports/block-storage.ts'
import type { Journal } from '../ports/journal.ts'
import type { Log } from '../ports/log.ts'
import type { Records } from '../ports/records.ts'

type Deps = {
  readonly records: Records
  readonly storage: Pick<BlockStorage, 'checkReleased' | 'deleteVolume' | 'deleteSnapshot'>
  readonly journal: Pick<Journal, 'leftovers' | 'cleared'>
  /** How long cinder-volume may be at work on one: what is still in the making after that is left. */
  readonly makingMs: number
  readonly log: Log
}

export type TemporaryRemover = {
  /** Told of a backup whose job is over. */
  ended(record: BackupRecord): void
  run(signal: AbortSignal): Promise<void>
}

const retryMs = 60_000

/**
 * Has cinder-volume remove what it made for a backup in use. That is done beside the backup, which has
 * ended by then and cannot be spoilt by it; what fails is tried again, and at the next start too. What this host could
 * not disconnect is left until it can: another volume may come to lie behind its device.
 * Source: cinder/backup/manager.py, `_cleanup_temp_volumes_snapshots_when_backup_created`.
 */
export function temporaryRemover(deps: Deps): TemporaryRemover {
  const { journal, log } = deps
  const pending = new Set<string>()
  const rung = bell()

  return {
    ended({ id, status, temp_volume_id: volumeId, temp_snapshot_id: snapshotId }) {
      if (status === 'creating' || (volumeId === null && snapshotId === null)) return
      pending.add(id)
      rung.ring()
    },
    async run(signal) {
      for (const { id, status } of journal.leftovers()) if (status !== 'creating') pending.add(id)
      while (!signal.aborted) {
        const seen = rung.count
        for (const id of [...pending]) {
          try {
            if (await removeOf(id, deps, signal)) pending.delete(id)
          } catch (error) {
            if (signal.aborted) return
            log.warn('something temporary is left of a backup, trying on', { backup_id: id, error })
          }
        }
        if (pending.size > 0) await delay(retryMs, signal).catch(() => undefined)
        else await rung.rungAfter(seen, signal)
      }
    },
  }
}

/** What Cinder makes for a backup has a name that says so; nothing else is removed, whatever a row says. */
export const temporaryName = /^backup-(vol|snap)-/

/** Tells whether nothing is left to be looked at again. */
async function removeOf(backupId: string, deps: Deps, signal: AbortSignal): Promise<boolean> {
  const { records, journal } = deps
  const row = await records.backup(backupId, signal)
  if (row !== null) {
    if (row.status === 'creating') return true // Its end will be told.
    if (row.temp_volume_id !== null) await removeVolume(row.temp_volume_id, deps, signal)
    if (row.temp_snapshot_id !== null) await removeSnapshot(row.temp_snapshot_id, deps, signal)
    const change = { temp_volume_id: null, temp_snapshot_id: null }
    await records.changeBackup(backupId, null, change, signal)
    if (!(await removeStrays(row.volume_id, deps, signal))) return false
  }
  journal.cleared(backupId)
  return true
}

/**
 * A start that asked for a device once more, for it could not know of the first request, has two copies
 * made, and the row names one of them. Tells whether none is left to be looked at again.
 */
async function removeStrays(volumeId: string, deps: Deps, signal: AbortSignal): Promise<boolean> {
  const { records, log, makingMs } = deps
  const { volumes, snapshots, isInHand } = await records.strayTemporaries(volumeId, signal)
  if (isInHand) return false
  let isDone = true
  for (const { id, status, columns } of [...volumes, ...snapshots]) {
    const isSnapshot = snapshots.some((one) => one.id === id)
    // What is deleted already, or could not be, is an operator's. A snapshot is said to be before it is asked for.
    if (status === 'error_deleting' || (status === 'deleting' && !isSnapshot)) continue
    if (status === 'creating') {
      const ageMs = wallClockMs() - Date.parse(String(columns['created_at']))
      if (ageMs < makingMs) isDone = false
      else log.warn('what is temporary of a volume was never finished: delete it', { id })
    } else if (isSnapshot) await removeSnapshot(id, deps, signal)
    else await removeVolume(id, deps, signal)
  }
  return isDone
}

async function removeVolume(
  id: string,
  { records, storage, log }: Deps,
  signal: AbortSignal,
): Promise<void> {
  const volume = await records.volume(id, signal)
  if (volume === null || !isTemporary(volume.columns['display_name'], id, log)) return
  await storage.checkReleased({ kind: 'volume', id }, signal)
  await storage.deleteVolume(volume, asking(log), signal)
  log.info('temporary volume removed', { volume_id: id })
}

async function removeSnapshot(
  id: string,
  { records, storage, log }: Deps,
  signal: AbortSignal,
): Promise<void> {
  const snapshot = await records.snapshot(id, signal)
  if (snapshot === null || !isTemporary(snapshot.columns['display_name'], id, log)) return
  const volume = await records.volume(snapshot.volume_id, signal)
  if (volume === null) return
  await storage.checkReleased({ kind: 'snapshot', id }, signal)
  await records.changeSnapshot(id, null, 'deleting', signal)
  const columns = { ...snapshot.columns, status: 'deleting' }
  await storage.deleteSnapshot({ ...snapshot, columns }, volume, asking(log), signal)
  log.info('temporary snapshot removed', { snapshot_id: id })
}

function isTemporary(name: unknown, id: string, log: Log): boolean {
  if (typeof name === 'string' && temporaryName.test(name)) return true
  log.warn('what a backup calls temporary has another name, and stays', { id, name: String(name) })
  return false
}

function asking(log: Log) {
  return { context: administratorContext(`req-${randomUUID()}`), log }
}
