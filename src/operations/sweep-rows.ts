import { randomUUID } from 'node:crypto'

import { type BackupRecord, type BackupStatus, importVolumeId } from '../domain/backup-record.ts'
import { failReason } from '../domain/errors.ts'
import type { Job } from '../domain/job.ts'
import { administratorContext } from '../domain/request-context.ts'
import type { BlockStorage } from '../ports/block-storage.ts'
import type { Journal } from '../ports/journal.ts'
import type { Log } from '../ports/log.ts'
import type { Records } from '../ports/records.ts'
import { keyStays } from './admit-job.ts'
import { letGo } from './settling.ts'

type Deps = {
  readonly records: Records
  readonly journal: Pick<Journal, 'unfinished' | 'accept'>
  /** Null where volumes are found by their paths: then nothing is attached. */
  readonly storage: Pick<BlockStorage, 'detachVolume'> | null
  readonly host: string
  /** A job that goes on with what another left. */
  readonly take: (job: Job) => void
  /** Whether a delete that was cut short goes on here, as where nothing is said, or ends in error. */
  readonly deletes?: 'go on' | 'fail'
  /** Told of a backup that is over and may have something temporary. */
  readonly onEnded: (record: BackupRecord) => void
  readonly log: Log
}

/** Cinder's own words. Source: cinder/backup/manager.py, `_cleanup_one_backup`. */
const cutShort = 'incomplete backup reset on manager restart'

const lostReason =
  'the request for this backup was lost on its way to the backup service: ask again'

const unclaimedReason =
  'the request for this backup was lost before any backup service had it: ask again'

/**
 * Ends what this host had in hand by the rows, and no job of the journal knows: work of cinder-backup
 * before us, or of a journal that is lost. To be done before any request is taken. What Cinder's API has
 * asked for while nobody served this host looks the same, and its message waits in the queue, as one does
 * that was not acknowledged before a crash: what may be so is left. Cinder ends it there and then, and the message
 * that comes next finds a status that it was not sent for: a restore that was asked for during a restart
 * makes an error of its backup.
 */
export async function sweepRows(deps: Deps, signal: AbortSignal): Promise<void> {
  for (const row of await rowsInNoHand(deps, signal)) {
    if (!mayBeQueued(row)) await endOrTell(row, cutShort, deps, signal)
  }
}

/** What may wait for its message, or has lost it. */
export async function rowsLeft(deps: Deps, signal: AbortSignal): Promise<readonly BackupRecord[]> {
  const rows = await rowsInNoHand(deps, signal)
  return rows.filter(({ status }) => requested.includes(status))
}

/** Ends those of `left` that nobody has touched since, and whose messages are known to be lost. */
export async function sweepLost(
  deps: Deps,
  left: readonly BackupRecord[],
  signal: AbortSignal,
): Promise<void> {
  if (left.length === 0) return
  for (const row of await rowsInNoHand(deps, signal)) {
    if (left.some((earlier) => isUntouched(row, earlier))) {
      await endOrTell(row, lostReason, deps, signal)
    }
  }
}

/**
 * Ends a create that no host was ever chosen for, and that is older than any device is waited for: its
 * request was lost before a scheduler sent it on. One that still comes finds a status that it was not sent for.
 */
export async function endUnclaimed(
  row: BackupRecord,
  deps: Deps,
  signal: AbortSignal,
): Promise<void> {
  await endOrTell(row, unclaimedReason, deps, signal)
}

/**
 * Ends what another host had in hand that is gone for good: nothing was heard of it for `goneMs`. Cinder leaves
 * such rows for ever. What it was attached to is given back in its name; a delete is not gone on with, for only
 * the API knows which host has the same store. Should the host come back, its job finds a row that nobody wants.
 */
export async function endOfGoneHost(
  row: BackupRecord,
  goneMs: number,
  deps: Deps,
  signal: AbortSignal,
): Promise<void> {
  const { host } = row
  if (host === null) return
  const hours = Math.round(goneMs / 360_000) / 10
  const reason = `host ${host}, which had this backup in hand, was not heard of for ${hours} hours: ask again`
  await endOrTell(row, reason, { ...deps, host, deletes: 'fail' }, signal)
}

/** The statuses that Cinder's API gives before it sends the request. */
const requested: readonly (BackupStatus | null)[] = ['creating', 'restoring', 'deleting']

/**
 * A backup that any service has begun to make has its driver in its row; of the others nothing tells. The row of
 * a deleted backup that is imported has what it had before. Source: cinder/backup/api.py, `_get_import_backup`.
 */
function mayBeQueued({ status, service, volume_id: volumeId }: BackupRecord): boolean {
  if (status === 'creating') return service === null || volumeId === importVolumeId
  return status === 'restoring' || status === 'deleting'
}

/** A backup is created once; what was asked for anew since has its message on the way. */
function isUntouched(row: BackupRecord, earlier: BackupRecord): boolean {
  if (row.id !== earlier.id || row.status !== earlier.status) return false
  return row.status === 'creating' || row.updated_at === earlier.updated_at
}

async function rowsInNoHand(deps: Deps, signal: AbortSignal): Promise<readonly BackupRecord[]> {
  // A job that ends while the rows are read must not be taken for one that nobody knows.
  const before = inHandOf(deps)
  const rows = await deps.records.backupsOf(deps.host, ['available', 'deleted'], signal)
  const inHand = before.union(inHandOf(deps))
  return rows.filter(({ id }) => !inHand.has(id))
}

/** Whether a job of ours is at work on the volume: then it is not what another request has left. */
function isWorkedOn(volumeId: string, { journal }: Deps): boolean {
  return journal.unfinished().some(({ request: { operation, targetVolumeId, backup } }) => {
    if (operation === 'create') return backup.record.volume_id === volumeId
    return operation === 'restore' && targetVolumeId === volumeId.toLowerCase()
  })
}

function inHandOf({ journal }: Deps): ReadonlySet<string> {
  return new Set(journal.unfinished().map(({ request }) => request.backup.record.id))
}

/**
 * One before it may have taken minutes, of a database or a cinder-volume that was away. An import names its host
 * only when it begins, and may wait here for its turn.
 */
async function isStillSo(row: BackupRecord, deps: Deps, signal: AbortSignal): Promise<boolean> {
  if (!requested.includes(row.status)) return true // Nothing is written of it.
  const now = await deps.records.backup(row.id, signal)
  if (now === null || now.deleted || inHandOf(deps).has(row.id)) return false
  return now.host === row.host && isUntouched(now, row)
}

async function endOrTell(
  row: BackupRecord,
  reason: string,
  deps: Deps,
  signal: AbortSignal,
): Promise<void> {
  try {
    if (await isStillSo(row, deps, signal)) await endOne(row, reason, deps, signal)
  } catch (error) {
    signal.throwIfAborted()
    const what = 'a backup is left as an earlier service left it'
    deps.log.error(what, { backup_id: row.id, error })
  }
}

async function endOne(
  row: BackupRecord,
  reason: string,
  deps: Deps,
  signal: AbortSignal,
): Promise<void> {
  const { records, log, onEnded } = deps
  switch (row.status) {
    case 'creating': {
      if (!(await records.isHeldByLater(row, signal))) {
        await detachOurs(row.volume_id, ['backing-up'], deps, signal)
      }
      await letGo(row, null, records, signal)
      const change = { status: 'error', fail_reason: reason } as const
      await records.changeBackup(row.id, ['creating'], change, signal)
      onEnded({ ...row, ...change })
      break
    }
    case 'restoring':
      if (row.restore_volume_id !== null) await failTarget(row, row.restore_volume_id, deps, signal)
      await records.changeBackup(row.id, ['restoring'], { status: 'available' }, signal)
      break
    case 'deleting':
      if (deps.deletes === 'fail') await failDelete(row, reason, records, signal)
      else await goOnDeleting(row, deps, signal)
      break
    default:
      onEnded(row)
      return
  }
  log.warn('work that was cut short is ended', { backup_id: row.id, was: row.status, reason })
}

/** Cinder leaves a volume that was made for the restore as it is, for good. */
const afterRestore = { 'restoring-backup': 'error_restoring', creating: 'error' } as const

async function failTarget(
  { id }: BackupRecord,
  volumeId: string,
  deps: Deps,
  signal: AbortSignal,
): Promise<void> {
  const { records } = deps
  if (isWorkedOn(volumeId, deps)) return
  if (await records.isRestoredFromOther(volumeId, id, signal)) return
  const isDetached = await detachOurs(volumeId, Object.keys(afterRestore), deps, signal)
  const freed = isDetached ? (await records.volume(volumeId, signal))?.status : null
  for (const [from, status] of Object.entries(afterRestore)) {
    await records.changeVolume(volumeId, [from], { status }, signal)
  }
  // What took it back has said what it is without us, and that it is half written nobody told.
  if (typeof freed !== 'string' || freed in afterRestore) return
  await records.changeVolume(volumeId, [freed], { status: 'error_restoring' }, signal)
}

/**
 * Takes back what an earlier service attached to this host for work on a volume that is in one of
 * `statuses`. One that stays attached must not keep the rows as they are. Tells whether any was taken back.
 * Source: cinder/backup/manager.py, `_detach_all_attachments`.
 */
async function detachOurs(
  volumeId: string,
  statuses: readonly string[],
  deps: Deps,
  signal: AbortSignal,
): Promise<boolean> {
  const { records, storage, host, log } = deps
  if (storage === null || isWorkedOn(volumeId, deps)) return false
  const volume = await records.volume(volumeId, signal)
  if (volume === null || !statuses.includes(volume.status ?? '')) return false
  let isAny = false
  const asking = { context: administratorContext(`req-${randomUUID()}`), log }
  for (const { id } of await records.attachmentsOf(volumeId, host, signal)) {
    try {
      await storage.detachVolume(volume, id, asking, signal)
      isAny = true
    } catch (error) {
      signal.throwIfAborted()
      log.error('an attachment to this host is left', { volume_id: volumeId, id, error })
    }
  }
  return isAny
}

async function goOnDeleting(row: BackupRecord, deps: Deps, signal: AbortSignal): Promise<void> {
  const { records, journal, take } = deps
  if (row.encryption_key_id !== null) {
    await failDelete(row, failReason(keyStays(row)), records, signal)
    return
  }
  const acceptance = journal.accept({
    id: { key: randomUUID(), identifies: true },
    request: {
      ...{ operation: 'delete', backup: { record: row, parent: null }, targetVolumeId: null },
      ...{ volumeIsNew: false, volumeMeta: null, imported: null, newStatus: null, was: null },
    },
    context: administratorContext(`req-${randomUUID()}`),
    replyTo: null,
    isAnew: true, // So says the row, whatever was deleted under that id before.
  })
  if (acceptance.kind === 'new') take(acceptance.job)
}

async function failDelete(
  row: BackupRecord,
  reason: string,
  records: Records,
  signal: AbortSignal,
): Promise<void> {
  const change = { status: 'error_deleting', fail_reason: reason } as const
  await records.changeBackup(row.id, ['deleting'], change, signal)
}
