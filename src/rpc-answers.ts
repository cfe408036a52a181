import { encodeBackupUrl } from './adapters/rpc/backup-url.ts'
import { levelNamed, logLevelList, logRequestFrom } from './adapters/rpc/log-level-object.ts'
import { backupFromPrimitive } from './adapters/rpc/versioned-object.ts'
import type { BackupRecord } from './domain/backup-record.ts'
import { AgentError } from './domain/errors.ts'
import type { Json } from './domain/json.ts'
import { checkExport, checkOwner, checkPlace, completed } from './domain/request-check.ts'
import type { RequestContext } from './domain/request-context.ts'
import type { Journal } from './ports/journal.ts'
import type { Log, LogLevels } from './ports/log.ts'
import type { RpcRequest } from './ports/rpc.ts'
import type { HandlerRows } from './rpc-devices.ts'

// What is answered at once: no job, nothing in the journal (decision D1).

export type AnswerDeps = {
  /** Throws where no store could be opened for the caller. */
  readonly checkStore: (context: RequestContext) => void
  /** Lets the scheduler be told soon of what we can do; nobody waits for it. */
  readonly publishCapabilities: () => void
  readonly journal: Pick<Journal, 'record'>
  /** Cinder's database; null: records travel with the requests. */
  readonly rows: HandlerRows | null
  readonly signal: AbortSignal
  /** Upstream's class path of our driver. */
  readonly service: string
  readonly levels: LogLevels
  readonly log: Log
}

export type Answering = (request: RpcRequest, deps: AnswerDeps) => Promise<Json>

/** Every chunked driver can. Source: cinder/backup/chunkeddriver.py. */
export const canForceDelete: Answering = async ({ context }, { checkStore }) => {
  checkStore(context)
  return true
}

export const publishCapabilities: Answering = async (_request, deps) => {
  deps.publishCapabilities()
  return null
}

/** What `import_record` needs to know a backup again. Source: cinder/backup/manager.py. */
export const exportRecord: Answering = async ({ args, context }, deps) => {
  const { journal, rows, service, log } = deps
  const { record: asked } = backupFromPrimitive(args['backup'])
  const known = rows === null ? journal.record(asked.id) : await rowOf(asked.id, rows, deps.signal)
  checkOwner(asked, known, context)
  const told = { ...asked, status: asked.status ?? known?.status ?? null }
  const record = rows === null ? completed(told, known) : (known ?? asked)
  checkExport(record, service)
  if (rows === null) checkPlace('export', asked, known)
  log.info('record exported', { requestId: context.requestId, backupId: record.id })
  return { backup_service: record.service, backup_url: encodeBackupUrl(record) }
}

/** A caller does not wait longer for a database than for us. */
const rowMsMax = 30_000

/** Rejects with BACKUP_NOT_FOUND. */
async function rowOf(
  backupId: string,
  { records }: HandlerRows,
  signal: AbortSignal,
): Promise<BackupRecord> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(rowMsMax)])
  const row = await records.backup(backupId, limit)
  if (row !== null && !row.deleted) return row
  throw new AgentError('BACKUP_NOT_FOUND', `Backup ${backupId} could not be found.`, { backupId })
}

export const getLogLevels: Answering = async ({ args }, { levels }) => {
  const { prefix } = logRequestFrom(args['log_request'])
  return logLevelList([...levels.levels()].filter(([name]) => hasPrefix(name, prefix)))
}

/** Holds until it is set anew or the agent starts again. */
export const setLogLevels: Answering = async ({ args, context }, { levels, log }) => {
  const asked = logRequestFrom(args['log_request'])
  const level = levelNamed(asked.level)
  levels.setLevel((name) => hasPrefix(name, asked.prefix), level)
  const { requestId } = context
  log.info('log levels set', { requestId, prefix: asked.prefix.slice(0, 80), level })
  return null
}

/** `cinder.backup`, by which an operator means the backup service, is the beginning of our names too. */
function hasPrefix(name: string, prefix: string): boolean {
  return dotted(name).startsWith(dotted(prefix))
}

function dotted(name: string): string {
  return name.replaceAll('_', '.')
}
