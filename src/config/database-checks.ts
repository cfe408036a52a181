import { readDatabaseUrl } from '../adapters/records/database-url.ts'
import { hasCode } from '../domain/errors.ts'
import type { Finding } from './finding.ts'
import type { Settings } from './schema.ts'

/** What is wrong with the address of the database, where the records are to live there. */
export function databaseFindings(settings: Settings): readonly Finding[] {
  const { connection, connection_parameters: more, mysql_wsrep_sync_wait: wait } = settings.database
  if (connection === null || settings.cinder_backup_agent.records === 'message') return []
  if (wait !== null && !/^\d{1,2}$/.test(wait)) {
    return [{ name: 'database.mysql_wsrep_sync_wait', what: 'is not a number from 0 to 15' }]
  }
  try {
    readDatabaseUrl(connection, more)
    return []
  } catch (error) {
    if (!hasCode(error, 'CONFIGURATION_INVALID')) throw error
    return [{ name: 'database.connection', what: error.message.replace(/^\S+ connection /, '') }]
  }
}
