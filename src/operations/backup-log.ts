import type { BackupPlan } from '../domain/backup-plan.ts'
import { checkAgainstListing } from '../engine/resume-backup.ts'
import { openWindowLog, type WindowLog } from '../engine/window-log.ts'
import type { ObjectStore } from '../ports/object-store.ts'
import type { Spool } from '../ports/spool.ts'
import type { Run } from './operation.ts'
import { listObjects, removeObjects } from './remove-objects.ts'

/** The windows of a backup that are done, kept over restarts of the agent. */
export async function openLog(
  run: Run,
  { container, prefix, chunkSizeBytes, blockSizeBytes, zeroChunks }: BackupPlan,
  sizeBytes: number,
  spool: Spool,
): Promise<WindowLog & AsyncDisposable> {
  const { id: backupId, parent_id: parentId } = run.record()
  await using opened = new AsyncDisposableStack()
  const windows = opened.use(await spool.keep(run.job.id, 'windows'))
  const digests = opened.use(await spool.keep(run.job.id, 'digests'))
  const layout = { backupId, parentId, container, prefix, blockSizeBytes, zeroChunks }
  const log = await openWindowLog(windows, digests, {
    ...layout,
    sizeBytes,
    windowBytes: chunkSizeBytes,
  })
  const files = opened.move()
  return Object.assign(log, { [Symbol.asyncDispose]: () => files.disposeAsync() })
}

/**
 * Makes sure that what an earlier start noted is there, and that nothing else is. Resolves to the highest
 * number that a chunk may have.
 */
export async function goOn(
  run: Run,
  log: WindowLog,
  store: ObjectStore,
  signal: AbortSignal,
): Promise<number> {
  const { container, prefix, sizeBytes } = log.layout
  if (log.doneBytes() === 0) {
    const count = await removeObjects(store, { container, objectPrefix: prefix }, signal)
    if (count > 0) run.log.info('objects of an earlier start removed', { count, prefix })
    return 0
  }
  const listing = listObjects(store, container, `${prefix}-`, signal)
  const lastNumber = await checkAgainstListing(log, listing)
  run.reached(log.doneBytes())
  const done = { bytes_done: log.doneBytes(), bytes_total: sizeBytes, chunks: log.count() }
  run.log.info('going on where an earlier start was cut short', done)
  return lastNumber
}
