import { backupFromPrimitive } from './adapters/rpc/versioned-object.ts'
import { backupDeviceFrom } from './adapters/rpc/volume-objects.ts'
import type { BackupRecord, BackupWithParents } from './domain/backup-record.ts'
import type { JobRequest } from './domain/job.ts'
import type { JobRunner } from './operations/run-jobs.ts'
import type { DeliveryId, Journal } from './ports/journal.ts'
import type { Log } from './ports/log.ts'
import type { Records } from './ports/records.ts'
import type { Disposition, RpcRequest } from './ports/rpc.ts'

/** What the handler of requests knows of Cinder's database, where there is one. */
export type HandlerRows = {
  readonly records: Pick<Records, 'backup'>
  /** Told of a backup that is over and may have something temporary. */
  readonly onEnded: (record: BackupRecord) => void
}

type Deps = {
  readonly journal: Journal
  readonly runner: JobRunner
  readonly rows: HandlerRows | null
  readonly host: string
  readonly log: Log
  readonly signal: AbortSignal
}

/**
 * `continue_backup`: cinder-volume gives the device of a backup. It is in the journal before it is
 * acknowledged. Where no job waits for it, but the row says that the backup is ours to make, another
 * service began it, or the journal is lost: it goes on from here. Source: cinder/backup/manager.py.
 */
export async function takeDevice(
  { args, context }: RpcRequest,
  id: DeliveryId,
  { journal, runner, rows, host, log, signal }: Deps,
): Promise<Disposition> {
  const asked = backupFromPrimitive(args['backup'] ?? null)
  const device = backupDeviceFrom(args['backup_device'])
  const backupId = asked.record.id
  const fields = { request_id: context.requestId, backup_id: backupId, device: device.id }
  const given = runner.giveDevice(backupId, device)
  if (given !== null) {
    if (given.isTaken) log.info('device received', fields)
    else log.warn('a second device for a backup that has one, which stays', fields)
    return { kind: 'accepted', jobId: given.job.id, backupId }
  }
  const row = (await rows?.records.backup(backupId, signal)) ?? null
  if (row === null || row.status !== 'creating' || row.host !== host) {
    log.warn('a device that no backup waits for', { ...fields, status: row?.status ?? null })
    if (row !== null) rows?.onEnded(row)
    return { kind: 'ignored' }
  }
  const request = createFrom({ record: row, parent: asked.parent })
  const acceptance = journal.accept({ id, request, context, replyTo: null })
  if (acceptance.kind !== 'new') return { kind: 'ignored' }
  const { job } = acceptance
  // Taken first: where the device cannot be noted now, the message comes again and finds its job.
  runner.take({ ...job, device })
  journal.update(job.id, { device })
  log.info('a backup that another service began goes on here', fields)
  return { kind: 'accepted', jobId: job.id, backupId }
}

function createFrom(backup: BackupWithParents): JobRequest {
  return {
    ...{ operation: 'create', backup, targetVolumeId: null, volumeIsNew: false },
    ...{ volumeMeta: null, imported: null, newStatus: null, was: null },
  }
}
