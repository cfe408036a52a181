import { randomUUID } from 'node:crypto'

import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { BackupDevice, JobRequest, Operation } from '#src/domain/job.ts'
import type { RequestContext } from '#src/domain/request-context.ts'
import type { Delivery } from '#src/ports/journal.ts'
import type { Notification } from '#src/ports/rpc.ts'

/** A record as a scheduler sends it with a request to make a backup. */
export function aRecord(fields: Partial<BackupRecord> = {}): BackupRecord {
  return {
    id: randomUUID(),
    user_id: 'a3f1c6b2d4e54f0f8a9b0c1d2e3f4a5b',
    project_id: '0f8e7d6c5b4a39281706f5e4d3c2b1a0',
    volume_id: randomUUID(),
    host: null,
    availability_zone: 'nova',
    container: null,
    parent_id: null,
    status: 'creating',
    fail_reason: null,
    size: 1,
    display_name: 'nightly',
    display_description: null,
    service_metadata: null,
    service: null,
    object_count: 0,
    temp_volume_id: null,
    temp_snapshot_id: null,
    num_dependent_backups: 0,
    snapshot_id: null,
    data_timestamp: '2026-11-22T10:11:12Z',
    restore_volume_id: null,
    metadata: {},
    encryption_key_id: null,
    created_at: '2026-11-22T10:11:12Z',
    updated_at: null,
    deleted_at: null,
    deleted: false,
    ...fields,
  }
}

export function aContext(fields: Partial<RequestContext> = {}): RequestContext {
  return {
    requestId: `req-${randomUUID()}`,
    globalRequestId: null,
    userId: 'a3f1c6b2d4e54f0f8a9b0c1d2e3f4a5b',
    projectId: '0f8e7d6c5b4a39281706f5e4d3c2b1a0',
    isAdmin: false,
    authToken: 'gAAAAAB-token',
    serviceCatalog: [],
    values: { roles: ['member'] },
    ...fields,
  }
}

export function aRequest(
  operation: Operation,
  record: BackupRecord = aRecord(),
  fields: Partial<JobRequest> = {},
): JobRequest {
  return {
    operation,
    backup: { record, parent: null },
    targetVolumeId: operation === 'restore' ? randomUUID() : null,
    volumeIsNew: false,
    volumeMeta: null,
    imported: null,
    newStatus: operation === 'reset_status' ? 'error' : null,
    ...fields,
  }
}

export function aDelivery(request: JobRequest, fields: Partial<Delivery> = {}): Delivery {
  return {
    id: { key: randomUUID(), identifies: true },
    request,
    context: aContext(),
    replyTo: null,
    ...fields,
  }
}

/** A volume that cinder-volume gave to be backed up. */
export function aDevice(fields: Partial<BackupDevice> = {}): BackupDevice {
  return {
    ...{ kind: 'volume', id: randomUUID(), sizeGib: 1 },
    ...{ host: 'storage1@lvm#pool', clusterName: null, object: {} },
    ...fields,
  }
}

export function anEvent(eventType: string): Notification {
  return {
    messageId: randomUUID(),
    uniqueId: randomUUID().replaceAll('-', ''),
    eventType,
    priority: 'INFO',
    payload: {},
    timestamp: '2026-11-23 00:20:54.573000',
    context: {},
  }
}
