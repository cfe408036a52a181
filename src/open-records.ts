import type { Config } from './config.ts'
import { AgentError } from './domain/errors.ts'
import type { Log } from './ports/log.ts'
import type { Records } from './ports/records.ts'

// As oslo.db's users wait for MySQL: longer than its lock wait of 50 s, so that the server has its say first.
const statementMs = 60_000

/**
 * Cinder's database, with its drivers, which nobody loads before. Waits until it is there. Rejects with
 * CONFIGURATION_INVALID and RECORDS_REFUSED, or with the signal's reason.
 */
export async function openRecords(
  { database }: Pick<Config, 'database'>,
  log: Log,
  signal: AbortSignal,
): Promise<Records> {
  if (database === null) {
    const what = 'records = database needs [database] connection; set it'
    throw new AgentError('CONFIGURATION_INVALID', what)
  }
  const { openSqlRecords } = await import('./adapters/records/sql-records.ts')
  return openSqlRecords({ ...database, statementMs, log }, signal)
}
