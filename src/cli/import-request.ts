import { decodeBackupUrl, encodeBackupUrl } from '../adapters/rpc/backup-url.ts'
import { backupToPrimitive } from '../adapters/rpc/versioned-object.ts'
import { AgentError } from '../domain/errors.ts'
import { newRecord, readRecord, type SendRequest } from './send-requests.ts'

/** What `export_record` answered. */
export type Exported = { readonly service: string; readonly url: string }

/** Null where neither is given. Throws ARGUMENT_INVALID where one is. */
export function exportedBy(service: string | undefined, url: string | undefined): Exported | null {
  if (service === undefined && url === undefined) return null
  if (service !== undefined && url !== undefined) return { service, url }
  throw new AgentError(
    'ARGUMENT_INVALID',
    '--backup-service and --backup-url go together: they are the answer of export_record',
  )
}

/**
 * Imports what was exported, or else the backup of the record in the file, for whoever asks. The file
 * gets the record of an import that ends well. Source: cinder/backup/api.py, `import_record`, which
 * makes an empty row of the exported id first. Throws BACKUP_NOT_FOUND, ARGUMENT_INVALID or
 * RECORD_INVALID.
 */
export function importRequest(recordFile: string, exported: Exported | null): SendRequest {
  const { service, url } = exported ?? exportedFrom(recordFile)
  const { id, volume_id: volumeId } = decodeBackupUrl(url)
  const place = { volumeId, snapshotId: null, container: null, size: 0 }
  return {
    method: 'import_record',
    operation: 'import',
    backupId: id,
    targetVolumeId: null,
    recordFile,
    args: (context) => ({
      backup: backupToPrimitive({ record: newRecord(id, place, context, null), parent: null }),
      backup_service: service,
      backup_url: url,
      backup_hosts: [],
    }),
  }
}

function exportedFrom(recordFile: string): Exported {
  const { record } = readRecord(recordFile)
  if (record.service === null) {
    throw new AgentError(
      'ARGUMENT_INVALID',
      `the record in ${recordFile} names no service; take that of the last event of the backup`,
    )
  }
  return { service: record.service, url: encodeBackupUrl(record) }
}
