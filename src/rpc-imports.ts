import { decodeBackupUrl } from './adapters/rpc/backup-url.ts'
import { backupFromPrimitive } from './adapters/rpc/versioned-object.ts'
import type { BackupRecord } from './domain/backup-record.ts'
import { AgentError } from './domain/errors.ts'
import type { Json, JsonObject } from './domain/json.ts'
import { isOurs } from './domain/request-check.ts'
import type { RpcRequest } from './ports/rpc.ts'
import { type PassOnDeps, passOn } from './rpc-pass-on.ts'

/** More hosts than any cloud has to make backups. */
const hostsMax = 1000

/**
 * An import of another driver's backup goes to the last of the hosts that are left, which tries the
 * others in turn; one that takes no messages is skipped. Rejects with BACKUP_NOT_OURS where none is
 * left. Source: cinder/backup/manager.py, `import_record`.
 */
export async function isImportPassedOn(
  request: RpcRequest,
  { service, ...deps }: PassOnDeps & { readonly service: string },
): Promise<boolean> {
  const { args, context } = request
  const { record } = backupFromPrimitive(args['backup'])
  const wanted = textArgument(args, 'backup_service')
  if (isOurs(wanted, service)) return false
  const hosts = hostsOf(args['backup_hosts'] ?? [])
  for (let to = hosts.pop(); to !== undefined; to = hosts.pop()) {
    const isTaken =
      to !== deps.host &&
      (await passOn(request, record, to, { ...args, backup_hosts: [...hosts] }, deps))
    const fields = { request_id: context.requestId, backup_id: record.id, to }
    if (isTaken) {
      deps.log.info('import passed on', fields)
      return true
    }
    deps.log.warn('import not passed on: the host takes no messages', fields)
  }
  throw new AgentError(
    'BACKUP_NOT_OURS',
    `Import record failed, cannot find backup service to perform the import. Request service ${wanted.slice(0, 200)}`,
    { backupId: record.id },
  )
}

/** What the exported record of an import says. Throws RECORD_INVALID or RECORD_MISMATCH. */
export function importedRecord(args: JsonObject, { id }: Pick<BackupRecord, 'id'>): BackupRecord {
  const record = decodeBackupUrl(textArgument(args, 'backup_url'))
  if (record.id === id) return record
  throw new AgentError(
    'RECORD_MISMATCH',
    `Trying to import backup metadata from id ${record.id} into backup ${id}.`,
    { backupId: id },
  )
}

/** The record that a failed import leaves in Cinder: as its API made it, and why it failed. */
export function importBase(asked: BackupRecord, known: BackupRecord | null): BackupRecord {
  if (known === null || known.deleted) return asked
  // A backup that this agent has is not forgotten because an import of it may fail.
  const { user_id, project_id, status, fail_reason } = asked
  return { ...known, user_id, project_id, status, fail_reason }
}

function hostsOf(value: Json): string[] {
  const isList = Array.isArray(value) && value.length <= hostsMax
  if (isList && value.every((host) => typeof host === 'string')) return [...value] as string[]
  throw new AgentError('ARGUMENT_INVALID', 'backup_hosts must be a list of hosts')
}

function textArgument(args: JsonObject, name: string): string {
  const value = args[name]
  if (typeof value === 'string') return value
  throw new AgentError('ARGUMENT_INVALID', `${name} must be a string`)
}
