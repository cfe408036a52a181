import { readDatabaseUrl } from '../adapters/records/database-url.ts'
import { hasCode } from '../domain/errors.ts'
import type { Finding } from './finding.ts'
import type { Settings } from './schema.ts'

/** What is wrong with the address of the database, where the records are to live there. */
export function databaseFindings(settings: Settings): readonly Finding[] {
  const { connection } = settings.database
  if (connection === null || settings.cinder_backup_agent.records === 'message') return []
  try {
    readDatabaseUrl(connection)
    return []
  } catch (error) {
    if (!hasCode(error, 'CONFIGURATION_INVALID')) throw error
    return [{ name: 'database.connection', what: error.message.replace(/^\S+ connection /, '') }]
  }
}
