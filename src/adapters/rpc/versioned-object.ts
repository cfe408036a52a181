import {
  type BackupRecord,
  type BackupStatus,
  type BackupWithParents,
  backupStatuses,
} from '../../domain/backup-record.ts'
import { AgentError } from '../../domain/errors.ts'
import { isJsonObject, type Json, type JsonObject } from '../../domain/json.ts'
import { isCompatible } from '../../domain/rpc-version.ts'
import { isUuid } from '../../domain/uuid.ts'
import { isoTime } from './iso-time.ts'

/** Source: oslo_versionedobjects/base.py; cinder/objects/backup.py, Backup 1.7. */
const nameKey = 'versioned_object.name'
const namespaceKey = 'versioned_object.namespace'
const versionKey = 'versioned_object.version'
const dataKey = 'versioned_object.data'
const backupVersion = '1.7'

/** A longer chain than anyone restores: it bounds what a message can make us build. */
const ancestorsMax = 1_000

/**
 * The backup that a request carries: Cinder's versioned object, or a plain object with the same
 * fields, so that any language can be a scheduler. Missing fields are null or the column's default,
 * unknown ones are ignored. Rejects with ARGUMENT_MISSING where there is none and with
 * ARGUMENT_INVALID, naming the field, where a field has the wrong type or an id is no UUID.
 */
export function backupFromPrimitive(json: Json | undefined, path = 'backup'): BackupWithParents {
  if (json === undefined || json === null) {
    throw new AgentError('ARGUMENT_MISSING', `missing argument: ${path}`, { field: path })
  }
  // From the backup to its oldest ancestor, then folded back: recursion would follow the sender's depth.
  const records: BackupRecord[] = []
  let next: Json | undefined = json
  let nextPath = path
  while (next !== undefined && next !== null) {
    if (records.length > ancestorsMax) {
      throw invalid(path, `has more than ${ancestorsMax} ancestors`)
    }
    const data = dataOf(next, nextPath, backupNames)
    records.push(recordOf(data, nextPath))
    next = data['parent']
    nextPath = records.length < 4 ? `${nextPath}.parent` : `ancestor ${records.length} of ${path}`
  }
  const chain = records.reduceRight<BackupWithParents | null>(
    (parent, record) => ({ record, parent }),
    null,
  )
  if (chain === null) throw new AgentError('ASSERTION_FAILED', 'a chain of backups came out empty')
  return chain
}

/** The fields of a backup in the order and form in which versioned objects carry them. */
export function backupFields(record: BackupRecord): JsonObject {
  return {
    ...recordOf({ ...record }, 'record'),
    data_timestamp: wireTime(record.data_timestamp),
    created_at: wireTime(record.created_at),
    updated_at: wireTime(record.updated_at),
    deleted_at: wireTime(record.deleted_at),
  }
}

/** A backup as Cinder's services send it. A parent that is not known is left out, as not loaded. */
export function backupToPrimitive({ record, parent }: BackupWithParents): JsonObject {
  const nested = parent === null ? null : backupToPrimitive(parent)
  const isUnknown = nested === null && record.parent_id !== null
  const fields = { ...backupFields(record), ...(isUnknown ? {} : { parent: nested }) }
  return versionedObject('Backup', backupVersion, fields)
}

export function versionedObject(name: string, version: string, data: JsonObject): JsonObject {
  return { [nameKey]: name, [namespaceKey]: 'cinder', [versionKey]: version, [dataKey]: data }
}

// An import carries its backup under another name. Source: cinder/objects/backup.py, BackupImport.
const backupNames = ['Backup', 'BackupImport']

/** The fields of an object that has one of `names`, whether it is wrapped or plain. */
export function dataOf(json: Json, path: string, names: readonly string[]): JsonObject {
  const wanted = names[0] ?? ''
  if (!isJsonObject(json)) throw invalid(path, `is not a ${wanted.toLowerCase()}: ${shown(json)}`)
  if (!Object.hasOwn(json, nameKey)) return json
  const { [nameKey]: name, [namespaceKey]: namespace, [versionKey]: version } = json
  if (!names.some((one) => one === name)) {
    throw invalid(path, `is a versioned object named ${shown(name)}, not ${wanted}`)
  }
  if (namespace !== undefined && namespace !== 'cinder') {
    throw invalid(path, `is a versioned object of namespace ${shown(namespace)}, not cinder`)
  }
  // Fields are only ever added within a major version.
  const isText = typeof version === 'string' || typeof version === 'number'
  if (version !== undefined && !(isText && isCompatible('1.999', String(version)))) {
    throw invalid(path, `has version ${shown(version)}, not 1.x`)
  }
  const data = json[dataKey]
  if (!isJsonObject(data)) throw invalid(path, `has no ${dataKey}`)
  return data
}

function recordOf(data: JsonObject, path: string): BackupRecord {
  const field = fieldsOf(data, path)
  return {
    id: field.requiredUuid('id'),
    user_id: field.text('user_id'),
    project_id: field.text('project_id'),
    volume_id: field.requiredUuid('volume_id'),
    host: field.text('host'),
    availability_zone: field.text('availability_zone'),
    container: field.text('container'),
    parent_id: field.uuid('parent_id'),
    status: field.status('status'),
    fail_reason: field.text('fail_reason'),
    size: field.count('size'),
    display_name: field.text('display_name'),
    display_description: field.text('display_description'),
    service_metadata: field.text('service_metadata'),
    service: field.text('service'),
    object_count: field.count('object_count') ?? 0,
    temp_volume_id: field.uuid('temp_volume_id'),
    temp_snapshot_id: field.uuid('temp_snapshot_id'),
    num_dependent_backups: field.count('num_dependent_backups') ?? 0,
    snapshot_id: field.uuid('snapshot_id'),
    data_timestamp: field.time('data_timestamp'),
    restore_volume_id: field.uuid('restore_volume_id'),
    metadata: field.texts('metadata'),
    encryption_key_id: field.text('encryption_key_id'),
    created_at: field.time('created_at'),
    updated_at: field.time('updated_at'),
    deleted_at: field.time('deleted_at'),
    deleted: field.flag('deleted'),
  }
}

/** Reads the fields of one object; every complaint names the field and shows the value. */
function fieldsOf(data: JsonObject, path: string) {
  const given = (name: string): Json => (Object.hasOwn(data, name) ? (data[name] ?? null) : null)
  const refuse = (name: string, wanted: string): AgentError =>
    invalid(`${path}.${name}`, `is not ${wanted}: ${shown(given(name))}`)

  const uuid = (name: string): string | null => {
    const value = given(name)
    if (value !== null && !isUuid(value)) throw refuse(name, 'a UUID')
    return value
  }
  return {
    uuid,
    requiredUuid: (name: string): string => {
      const value = uuid(name)
      if (value === null) throw missing(`${path}.${name}`)
      return value
    },
    text: (name: string): string | null => {
      const value = given(name)
      if (value !== null && typeof value !== 'string') throw refuse(name, 'a string')
      return value
    },
    count: (name: string): number | null => {
      const value = given(name)
      if (value === null) return null
      if (!Number.isSafeInteger(value) || Number(value) < 0) throw refuse(name, 'a whole number')
      return Number(value)
    },
    flag: (name: string): boolean => {
      const value = given(name) ?? false
      if (typeof value !== 'boolean') throw refuse(name, 'true or false')
      return value
    },
    status: (name: string): BackupStatus | null => {
      const value = given(name)
      if (value !== null && !isStatus(value)) throw refuse(name, 'a status of a backup')
      return value
    },
    time: (name: string): string | null => {
      const value = given(name)
      if (value === null) return null
      const time = typeof value === 'string' ? isoTime(value) : null
      if (time === null) throw refuse(name, 'an ISO 8601 time')
      return time
    },
    texts: (name: string): Readonly<Record<string, string>> => {
      const value = given(name) ?? {}
      if (!isJsonObject(value) || !isTexts(value)) throw refuse(name, 'an object of strings')
      return value
    },
  }
}

function isStatus(value: Json): value is BackupStatus {
  return backupStatuses.some((status) => status === value)
}

function isTexts(value: JsonObject): value is Readonly<Record<string, string>> {
  return Object.values(value).every((item) => typeof item === 'string')
}

function missing(path: string): AgentError {
  return new AgentError('ARGUMENT_MISSING', `missing argument: ${path}`, { field: path })
}

function invalid(path: string, complaint: string): AgentError {
  return new AgentError('ARGUMENT_INVALID', `argument ${path} ${complaint}`, { field: path })
}

/** A value for an error text: escaped, and cut, for it is a stranger's. */
function shown(value: Json | undefined): string {
  const text = typeof value === 'object' && value !== null ? kindOf(value) : JSON.stringify(value)
  return text === undefined ? 'nothing' : text.length > 80 ? `${text.slice(0, 80)}…` : text
}

function kindOf(value: object): string {
  return Array.isArray(value) ? 'an array' : 'an object'
}

/** Versioned objects carry no fraction and mark UTC by Z. Source: oslo_versionedobjects/fields.py. */
export function wireTime(time: string | null): string | null {
  return time === null ? null : (isoTime(time)?.replace(/\.\d+/, '') ?? time)
}
