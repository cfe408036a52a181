import { randomUUID } from 'node:crypto'

import type { BackupRecord } from '../domain/backup-record.ts'
import type { Job } from '../domain/job.ts'
import { administratorContext } from '../domain/request-context.ts'
import type { Journal } from '../ports/journal.ts'
import type { Log } from '../ports/log.ts'
import type { Records } from '../ports/records.ts'
import { letGo } from './settling.ts'

type Deps = {
  readonly records: Records
  readonly journal: Pick<Journal, 'unfinished' | 'accept'>
  readonly host: string
  /** A job that goes on with what another left. */
  readonly take: (job: Job) => void
  /** Told of a backup that is over and may have something temporary. */
  readonly onEnded: (record: BackupRecord) => void
  readonly log: Log
}

/** Cinder's own words. Source: cinder/backup/manager.py, `_cleanup_one_backup`. */
const failReason = 'incomplete backup reset on manager restart'

/**
 * Ends what this host had in hand by the rows, and no job of the journal knows: work of cinder-backup
 * before us, or of a journal that is lost. To be done before any request is taken. A backup that no
 * service ever began is left to its message, which may wait in the queue: resolves to the ids of these.
 * Given to a later look as `left`, those of them that are still so are ended, and nothing else is looked
 * at: the message of what came meanwhile may be on its way.
 */
export async function sweepRows(
  deps: Deps,
  left: ReadonlySet<string> | null,
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const { records, host, log } = deps
  // A job that ends while the rows are read must not be taken for one that nobody knows.
  const before = inHandOf(deps)
  const rows = await records.backupsOf(host, ['available', 'deleted'], signal)
  const inHand = before.union(inHandOf(deps))
  const queued = new Set<string>()
  for (const row of rows) {
    if (inHand.has(row.id)) continue
    const mayBeQueued = row.status === 'creating' && row.service === null
    if (mayBeQueued) queued.add(row.id)
    if (left === null ? mayBeQueued : !(mayBeQueued && left.has(row.id))) continue
    try {
      await sweepOne(row, deps, signal)
    } catch (error) {
      signal.throwIfAborted()
      log.error('a backup is left as an earlier service left it', { backup_id: row.id, error })
    }
  }
  return queued
}

function inHandOf({ journal }: Deps): ReadonlySet<string> {
  return new Set(journal.unfinished().map(({ request }) => request.backup.record.id))
}

async function sweepOne(row: BackupRecord, deps: Deps, signal: AbortSignal): Promise<void> {
  const { records, log, onEnded } = deps
  switch (row.status) {
    case 'creating': {
      await letGo(row, null, records, signal)
      const change = { status: 'error', fail_reason: failReason } as const
      await records.changeBackup(row.id, ['creating'], change, signal)
      onEnded({ ...row, ...change })
      break
    }
    case 'restoring':
      if (row.restore_volume_id !== null) {
        const change = { status: 'error_restoring' }
        await records.changeVolume(row.restore_volume_id, ['restoring-backup'], change, signal)
        // Cinder leaves one that was made for the restore as it is, for good.
        const made = { status: 'error' }
        await records.changeVolume(row.restore_volume_id, ['creating'], made, signal)
      }
      await records.changeBackup(row.id, ['restoring'], { status: 'available' }, signal)
      break
    case 'deleting':
      await goOnDeleting(row, deps, signal)
      break
    default:
      onEnded(row)
      return
  }
  log.warn('work that was cut short is ended', { backup_id: row.id, was: row.status })
}

/** The keys of an encrypted backup cannot be deleted without the user's token. */
async function goOnDeleting(row: BackupRecord, deps: Deps, signal: AbortSignal): Promise<void> {
  const { records, journal, take } = deps
  if (row.encryption_key_id !== null) {
    await records.changeBackup(row.id, ['deleting'], { status: 'error_deleting' }, signal)
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
  })
  if (acceptance.kind === 'new') take(acceptance.job)
}
