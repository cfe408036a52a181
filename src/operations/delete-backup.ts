import { type BackupRecord, importVolumeId } from '../domain/backup-record.ts'
import { checkPrefix, volumeOfPrefix } from '../domain/object-names.ts'
import type { RequestContext } from '../domain/request-context.ts'
import type { StoreLayout } from '../domain/store-layout.ts'
import { delay, monotonicMs } from '../lib/clock.ts'
import { recordTime } from '../lib/time-text.ts'
import type { ObjectStore } from '../ports/object-store.ts'
import { findPrefix } from './find-backup.ts'
import type { Run, RunOperation } from './operation.ts'
import { removeObjects } from './remove-objects.ts'

type Deps = {
  readonly storeFor: (context: RequestContext, projectId: string | null) => ObjectStore
  readonly layout: StoreLayout
}

/**
 * A store may finish an upload that a cancel has cut off, and then has an object more. It is looked
 * for once again after this time.
 */
const lateObjectMs = 1500

/** Each note is a transaction. */
const noteMs = 1000

/**
 * Removes every object of a backup; its record is deleted only when a listing says that none is left.
 * A backup that never got a container or a prefix has none, and no store is asked, unless another
 * host began it: then it is looked for.
 * Source: cinder/backup/chunkeddriver.py, `delete_backup`.
 */
export function deleteBackup({ storeFor, layout }: Deps): RunOperation {
  return async (run, signal) => {
    const { job, log, record } = run
    const asked = job.request.backup.record
    const isCancel = asked.status === 'creating'
    const wasElsewhere = isCancel && asked.host !== null && asked.host !== record().host
    if (record().service_metadata !== null || wasElsewhere) {
      const store = storeFor(job.context, record().project_id)
      const place = await placeToEmpty(record(), store, layout, signal)
      if (place !== null) {
        const onRemoved = removalNotes(run)
        let count = await removeObjects(store, place, signal, onRemoved)
        if (isCancel) {
          await delay(lateObjectMs, signal)
          count += await removeObjects(store, place, signal, onRemoved)
        }
        const { object_count: objectCount } = record()
        if (count > 0 || objectCount === 0) log.info('objects removed', { count, ...place })
        // An unmounted share looks like this, and so does a delete that is asked for once more.
        else log.warn('none of its objects was there', { object_count: objectCount, ...place })
      }
    }
    return { record: { deleted: true, deleted_at: recordTime() } }
  }
}

/** Notes that objects went: a delete that is cut short again and again, and gets on, is not given up. */
function removalNotes({ job, reached }: Run): (count: number) => void {
  let removed = 0
  let notedMs = Number.NEGATIVE_INFINITY
  return (count) => {
    removed += count
    if (monotonicMs() - notedMs < noteMs) return
    notedMs = monotonicMs()
    reached(job.highWaterBytes + removed)
  }
}

async function placeToEmpty(
  record: BackupRecord,
  store: ObjectStore,
  layout: StoreLayout,
  signal: AbortSignal,
): Promise<{ container: string; objectPrefix: string } | null> {
  const { id, volume_id: volumeId, service_metadata: objectPrefix } = record
  if (objectPrefix !== null) {
    checkPrefix(objectPrefix, { id, volume_id: volumeOf(record, objectPrefix) })
    return record.container === null ? null : { container: record.container, objectPrefix }
  }
  const container = record.container ?? layout.defaultContainer(id)
  const found = await findPrefix({ id, volumeId, container }, store, layout, signal)
  return found === null ? null : { container, objectPrefix: found.objectPrefix }
}

/**
 * The row of a deleted backup that was imported in vain has the place of its former life, and no volume any
 * more: then the prefix says whose it is, and the backup's id in it that it is this one's.
 */
function volumeOf({ volume_id: volumeId }: BackupRecord, objectPrefix: string): string {
  return (volumeId === importVolumeId ? volumeOfPrefix(objectPrefix) : null) ?? volumeId
}
