import type { JobRequest } from './domain/job.ts'
import type { Journal } from './ports/journal.ts'
import type { HandlerRows } from './rpc-devices.ts'

type Deps = {
  readonly journal: Pick<Journal, 'record'>
  readonly rows: HandlerRows | null
  readonly signal: AbortSignal
}

/**
 * Whether a row wants what the journal holds done: a backup was imported again by another host, or
 * Cinder's database was put back. Without a look the row would stay as it is, for nothing would be run.
 */
export async function isWantedAnew(
  { operation, backup }: JobRequest,
  { journal, rows, signal }: Deps,
): Promise<boolean> {
  if (rows === null || (operation !== 'create' && operation !== 'delete')) return false
  const [done, wanted] =
    operation === 'create' ? ['available', 'creating'] : (['deleted', 'deleting'] as const)
  const { id } = backup.record
  if (journal.record(id)?.status !== done) return false
  const row = await rows.records.backup(id, signal)
  return row !== null && !row.deleted && row.status === wanted
}
