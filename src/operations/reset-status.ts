import type { RunOperation } from './operation.ts'

/**
 * Sets the status that was asked for, once what it cancelled has ended. Whether the backup's objects
 * are there is not looked at, as in Cinder. Source: cinder/backup/manager.py, `reset_status`.
 */
export const resetStatus: RunOperation = async ({ job, log }) => {
  const { newStatus: status } = job.request
  log.info('status reset', { status })
  return { record: { status } }
}
