import { AgentError } from '../domain/errors.ts'
import type { CreateDeps } from './create-backup.ts'
import { placeOf, readManifest } from './find-backup.ts'
import type { RunOperation } from './operation.ts'

export type ImportDeps = Pick<CreateDeps, 'stores' | 'spool' | 'service' | 'availabilityZone'> & {
  readonly host: string
}

/**
 * Makes the record of an export that of a backup here. It is taken at its word only where the store
 * has the metadata object it points to, and that is this backup's (decision D24). Whose the backup
 * is stays as asked. Source: cinder/backup/manager.py, `import_record`.
 */
export function importRecord(deps: ImportDeps): RunOperation {
  return async ({ job, record, change, log }, signal) => {
    const { imported } = job.request
    if (imported === null) throw new AgentError('ASSERTION_FAILED', 'an import without a record')
    const { host } = deps
    // The API leaves the row without one, or with that of an earlier life.
    if (record().host !== host) await change({ host }, signal)
    const place = placeOf(imported)
    const store = deps.stores.storeFor(job.context, record().project_id)
    await using file = await deps.spool.open()
    const manifest = await readManifest(store, place, file, 'BACKUP_NOT_FOUND', signal)
    log.info('record imported', { container: place.container, prefix: place.objectPrefix })
    const { user_id, project_id, fail_reason } = record()
    return {
      record: {
        ...imported,
        ...{ user_id, project_id, host, fail_reason },
        parent_id: manifest.parentId,
        service: deps.service,
        availability_zone: deps.availabilityZone,
        status: 'available',
        deleted: false,
        deleted_at: null,
      },
    }
  }
}
