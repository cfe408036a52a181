import { AgentError } from '../../domain/errors.ts'
import type { BackupDevice } from '../../domain/job.ts'
import { isJsonObject, type Json, type JsonObject } from '../../domain/json.ts'
import { isUuid } from '../../domain/uuid.ts'
import type { Columns } from '../../ports/records.ts'
import { dataOf, versionedObject, wireTime } from './versioned-object.ts'

// Volumes and snapshots as Cinder's services send them to each other. What came from one of them is sent
// back as it came; what is made of a row holds every field that is a column, and the receiver loads the
// others itself. Source: cinder/objects/volume.py, Volume 1.9; cinder/objects/snapshot.py, Snapshot 1.6.

const volumeFields = [
  ...['id', '_name_id', 'ec2_id', 'user_id', 'project_id', 'use_quota', 'snapshot_id'],
  ...['cluster_name', 'host', 'size', 'availability_zone', 'status', 'attach_status'],
  ...['migration_status', 'scheduled_at', 'launched_at', 'terminated_at', 'display_name'],
  ...['display_description', 'provider_id', 'provider_location', 'provider_auth'],
  ...['provider_geometry', 'volume_type_id', 'source_volid', 'encryption_key_id'],
  ...['consistencygroup_id', 'group_id', 'deleted', 'bootable', 'multiattach'],
  ...['replication_status', 'replication_extended_status', 'replication_driver_data'],
  ...['previous_status', 'service_uuid', 'shared_targets'],
  ...['created_at', 'updated_at', 'deleted_at'],
]

const snapshotFields = [
  ...['id', 'user_id', 'project_id', 'use_quota', 'volume_id', 'cgsnapshot_id'],
  ...['group_snapshot_id', 'status', 'progress', 'volume_size', 'display_name'],
  ...['display_description', 'encryption_key_id', 'volume_type_id', 'provider_location'],
  ...['provider_id', 'provider_auth', 'deleted', 'created_at', 'updated_at', 'deleted_at'],
]

export function volumeObject(columns: Columns): JsonObject {
  return versionedObject('Volume', '1.9', fieldsOf(columns, volumeFields))
}

export function snapshotObject(columns: Columns): JsonObject {
  return versionedObject('Snapshot', '1.6', fieldsOf(columns, snapshotFields))
}

/** Fields whose column the release does not have are left out, as not loaded. */
function fieldsOf(columns: Columns, names: readonly string[]): JsonObject {
  const known = names.filter((name) => Object.hasOwn(columns, name))
  return Object.fromEntries(known.map((name) => [name, fieldOf(name, columns[name] ?? null)]))
}

function fieldOf(name: string, value: Json): Json {
  return name.endsWith('_at') && typeof value === 'string' ? wireTime(value) : value
}

/**
 * What `continue_backup` carries. Throws ARGUMENT_MISSING or ARGUMENT_INVALID.
 * Source: cinder/objects/backup.py, BackupDeviceInfo.
 */
export function backupDeviceFrom(json: Json | undefined): BackupDevice {
  const path = 'backup_device'
  if (json === undefined || json === null) {
    throw new AgentError('ARGUMENT_MISSING', `missing argument: ${path}`, { field: path })
  }
  const data = dataOf(json, path, ['BackupDeviceInfo'])
  const { volume = null, snapshot = null } = data
  const isVolume = snapshot === null
  const object = isVolume ? volume : snapshot
  if (!isJsonObject(object) || (volume !== null && snapshot !== null)) {
    throw invalid(path, 'has not one of volume and snapshot')
  }
  const kind = isVolume ? 'volume' : 'snapshot'
  const fields = dataOf(object, `${path}.${kind}`, [isVolume ? 'Volume' : 'Snapshot'])
  const { id, host = null, cluster_name: cluster = null } = fields
  const sizeGib = fields[isVolume ? 'size' : 'volume_size']
  if (!isUuid(id)) throw invalid(`${path}.${kind}.id`, 'is not a UUID')
  if (typeof sizeGib !== 'number') throw invalid(`${path}.${kind}`, 'has no size')
  return { kind, id, sizeGib, host: textOf(host), clusterName: textOf(cluster), object }
}

function textOf(json: Json): string | null {
  return typeof json === 'string' ? json : null
}

function invalid(path: string, complaint: string): AgentError {
  return new AgentError('ARGUMENT_INVALID', `argument ${path} ${complaint}`, { field: path })
}
