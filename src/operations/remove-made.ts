import type { BackupRecord } from '../domain/backup-record.ts'
import { AgentError } from '../domain/errors.ts'
import type { Job } from '../domain/job.ts'
import type { Log } from '../ports/log.ts'
import type { Operations, Run } from './operation.ts'

type Made = { readonly job: Job; readonly record: BackupRecord; readonly log: Log }

/**
 * Where the row alone tells of a forced delete, another host has removed what was there by then, and
 * what came after is left to us: by default Cinder's API asks any host. Source: cinder/backup/api.py,
 * `_get_available_backup_service_host`; cinder/backup/chunkeddriver.py, `backup`.
 */
export async function removeMade(
  { job, record, log }: Made,
  operations: Pick<Operations, 'delete'>,
  stop: AbortSignal,
): Promise<void> {
  if (job.request.operation !== 'create' || record.service_metadata === null) return
  const run: Run = {
    ...{ job, isFirst: false, log, record: () => record, change: async () => undefined },
    ...{ reached: () => undefined, progress: () => undefined, device: async () => null },
    keepDevice: async (device) => device,
  }
  try {
    await operations.delete(run, stop)
  } catch (error) {
    stop.throwIfAborted()
    log.warn('objects of a cancelled backup are left: delete it once more', { error })
  }
}

/** Whether the row says that somebody deletes the backup: who only reset it may want to see its objects. */
export function isGone(reason: unknown): boolean {
  return reason instanceof AgentError && isGoneBy(reason.context['status'])
}

export function isGoneBy(status: unknown): boolean {
  return status === 'deleting' || status === 'deleted'
}
