import type { BackupRecord } from '../../domain/backup-record.ts'
import { AgentError, toAgentError } from '../../domain/errors.ts'
import { isJsonObject, type JsonObject } from '../../domain/json.ts'
import { pythonLine } from '../../domain/python-json.ts'
import { parseUntrusted } from './untrusted-json.ts'
import { backupFields, backupFromPrimitive } from './versioned-object.ts'

/**
 * A record as an export carries it: base64 of its JSON, byte for byte as Cinder writes it. Chunked
 * drivers have nothing to add to it. Source: cinder/objects/backup.py, `encode_record`.
 */
export function encodeBackupUrl(record: BackupRecord): string {
  return Buffer.from(pythonLine({ driver_info: {}, ...backupFields(record) })).toString('base64')
}

/** What Cinder will not import a record without. Source: cinder/backup/manager.py, `import_record`. */
const requiredFields = [
  ...['display_name', 'display_description', 'container', 'size'],
  ...['service_metadata', 'object_count', 'id'],
] as const

/** The record of an export. Throws RECORD_INVALID, saying what is wrong with it. */
export function decodeBackupUrl(url: string): BackupRecord {
  const fields = decodedFields(url)
  const missing = requiredFields.filter((name) => !Object.hasOwn(fields, name))
  if (missing.length > 0) {
    throw invalid(
      `Driver successfully decoded imported backup data, but there are missing fields (${missing.join(', ')}).`,
    )
  }
  const { parent: _, ...own } = fields
  try {
    return backupFromPrimitive(own, 'backup_url').record
  } catch (error) {
    throw invalid(toAgentError(error).message, error)
  }
}

function decodedFields(url: string): JsonObject {
  const packed = url.replaceAll(/\s/g, '') // Whoever mails a record breaks its lines.
  if (packed.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(packed)) {
    throw invalid("Can't decode backup record: backup_url is not base64.")
  }
  let fields: unknown
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(packed, 'base64'))
    fields = parseUntrusted(text, 'backup_url')
  } catch (error) {
    throw invalid("Can't parse backup record: backup_url holds no JSON.", error)
  }
  if (isJsonObject(fields)) return fields
  throw invalid("Can't parse backup record: backup_url holds no JSON object.")
}

function invalid(why: string, cause?: unknown): AgentError {
  return new AgentError('RECORD_INVALID', why, {}, cause)
}
