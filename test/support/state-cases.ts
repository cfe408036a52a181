import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { ErrorCode } from '#src/domain/errors.ts'
import type { JobRequest, Operation } from '#src/domain/job.ts'
import type { Json } from '#src/domain/json.ts'
import { swiftDriver } from './state-rows.ts'

// The state tables of cinder/backup/manager.py (10.1 to 10.10), one row of them a case. What we do
// otherwise, for the original leaves rows stuck there, is said in the name.

export type Row = Readonly<Record<string, Json>>

export type StateCase = {
  readonly operation: Operation
  /** What the rows are at first; null: there is none. */
  readonly backup?: Partial<BackupRecord>
  readonly volume?: Row | null
  readonly snapshot?: Row
  readonly request?: Partial<JobRequest>
  readonly isReady?: boolean
  /** How the operation goes where it is let: well, with this failure, or while its row becomes this. */
  readonly fails?: ErrorCode
  readonly becomes?: BackupRecord['status']
  readonly ends: {
    readonly backup: Row
    readonly volume?: Row
    readonly snapshot?: Row
    readonly messages?: readonly string[]
    readonly events: readonly string[]
    /** Whether the operation was not let. */
    readonly isRefused?: true
  }
}

export const creating = { status: 'creating' } as const
export const restoring = { status: 'restoring', service: swiftDriver } as const
export const deleting = { status: 'deleting', service: swiftDriver } as const
export const good = { status: 'available', fail_reason: null }
export const [createStart, createEnd] = ['backup.create.start', 'backup.create.end']
export const [restoreStart, restoreEnd] = ['backup.restore.start', 'backup.restore.end']
export const [deleteStart, deleteEnd] = ['backup.delete.start', 'backup.delete.end']
export const restored = { status: 'restoring-backup', previous_status: null }

export const letGoInError = { status: 'available', previous_status: 'error_backing-up' }

export const stateCases: Readonly<Record<string, StateCase>> = {
  'M-01 a create without its volume fails, instead of staying creating': {
    ...{ operation: 'create', backup: creating, volume: null },
    ends: {
      backup: { status: 'error' },
      messages: ['013/021'],
      ...{ events: [createStart, 'backup.create.error'], isRefused: true },
    },
  },
  'M-02 a create of a snapshot in another status changes the backup only': {
    ...{ operation: 'create', backup: creating, volume: { status: 'in-use' } },
    snapshot: { status: 'available' },
    ends: {
      backup: {
        status: 'error',
        fail_reason:
          'SNAPSHOT_INVALID_STATE: Create backup aborted, expected snapshot status backing-up but got available.',
      },
      volume: { status: 'in-use', previous_status: 'available' },
      snapshot: { status: 'available' },
      ...{ events: [createStart, 'backup.create.error'], isRefused: true },
    },
  },
  'M-03 a create of a volume in another status changes the backup only': {
    ...{ operation: 'create', backup: creating, volume: { status: 'in-use' } },
    ends: {
      backup: {
        status: 'error',
        fail_reason:
          'VOLUME_INVALID_STATE: Create backup aborted, expected volume status backing-up but got in-use.',
      },
      volume: { status: 'in-use', previous_status: 'available' },
      ...{ events: [createStart, 'backup.create.error'], isRefused: true },
    },
  },
  'M-04 a create of a backup in another status lets go of the volume too': {
    ...{ operation: 'create', backup: { status: 'available' } },
    ends: {
      backup: {
        status: 'error',
        fail_reason:
          'BACKUP_INVALID_STATE: Create backup aborted, expected backup status creating but got available.',
      },
      volume: letGoInError,
      messages: ['013/017'],
      ...{ events: [createStart, 'backup.create.error'], isRefused: true },
    },
  },
  'M-04 a create that somebody has given up already is cancelled, and the delete finds its status':
    {
      ...{ operation: 'create', backup: { status: 'deleting' } },
      ends: {
        backup: { status: 'deleting', fail_reason: null },
        volume: { status: 'available', previous_status: 'backing-up' },
        ...{ events: [createStart, createEnd], isRefused: true },
      },
    },
  'M-05 a create while the store has never answered': {
    ...{ operation: 'create', backup: creating, isReady: false },
    ends: {
      backup: { status: 'error' },
      volume: letGoInError,
      messages: ['013/018'],
      ...{ events: [createStart, 'backup.create.error'], isRefused: true },
    },
  },
  'M-05 of a snapshot': {
    ...{ operation: 'create', backup: creating, isReady: false },
    ...{ volume: { status: 'in-use' }, snapshot: {} },
    ends: {
      backup: { status: 'error' },
      volume: { status: 'in-use', previous_status: 'available' },
      snapshot: { status: 'available' },
      messages: ['013/018'],
      ...{ events: [createStart, 'backup.create.error'], isRefused: true },
    },
  },
  'M-09 a device that never comes is a failure with its reason': {
    ...{ operation: 'create', backup: creating, fails: 'DEVICE_TIMED_OUT' },
    ends: {
      backup: { status: 'error', fail_reason: 'DEVICE_TIMED_OUT: as the case wants' },
      volume: letGoInError,
      messages: ['013/019'],
      events: [createStart, 'backup.create.error'],
    },
  },
  'M-10 the attach fails': {
    ...{ operation: 'create', backup: creating, fails: 'ATTACH_FAILED' },
    volume: { previous_status: 'in-use' },
    ends: {
      backup: { status: 'error', fail_reason: 'ATTACH_FAILED: as the case wants' },
      volume: { status: 'in-use', previous_status: 'error_backing-up' },
      messages: ['013/021'],
      events: [createStart, 'backup.create.error'],
    },
  },
  'M-11 the backup fails': {
    ...{ operation: 'create', backup: creating, fails: 'STORE_REFUSED' },
    ends: {
      backup: { status: 'error', fail_reason: 'STORE_REFUSED: as the case wants' },
      volume: letGoInError,
      messages: ['013/020'],
      events: [createStart, 'backup.create.error'],
    },
  },
  'M-11 of a snapshot': {
    ...{ operation: 'create', backup: creating, fails: 'VOLUME_READ_FAILED' },
    ...{ volume: { status: 'in-use' }, snapshot: {} },
    ends: {
      backup: { status: 'error', fail_reason: 'VOLUME_READ_FAILED: as the case wants' },
      volume: { status: 'in-use', previous_status: 'available' },
      snapshot: { status: 'available' },
      messages: ['013/020'],
      events: [createStart, 'backup.create.error'],
    },
  },
  'M-12 the detach fails': {
    ...{ operation: 'create', backup: creating, fails: 'DETACH_FAILED' },
    ends: {
      backup: { status: 'error', fail_reason: 'DETACH_FAILED: as the case wants' },
      volume: letGoInError,
      messages: ['013/022'],
      events: [createStart, 'backup.create.error'],
    },
  },
  'M-15 a backup of a volume': {
    ...{ operation: 'create', backup: { ...creating, size: 1, availability_zone: null } },
    volume: { size: 3, previous_status: 'in-use' },
    ends: {
      backup: {
        ...{ ...good, size: 3, object_count: 7, service: swiftDriver },
        availability_zone: 'nova',
      },
      volume: { status: 'in-use', previous_status: 'backing-up' },
      events: [createStart, createEnd],
    },
  },
  'M-15 a volume that does not tell what it was is what its attachments say': {
    ...{ operation: 'create', backup: creating },
    volume: { previous_status: null, attach_status: 'attached' },
    ends: {
      backup: good,
      volume: { status: 'in-use', previous_status: 'backing-up' },
      events: [createStart, createEnd],
    },
  },
  'M-16 a backup of a snapshot': {
    ...{ operation: 'create', backup: creating, volume: { status: 'in-use' }, snapshot: {} },
    ends: {
      backup: good,
      volume: { status: 'in-use', previous_status: 'available' },
      snapshot: { status: 'available' },
      events: [createStart, createEnd],
    },
  },
  'M-17 a create whose row is given up meanwhile': {
    ...{ operation: 'create', backup: creating, becomes: 'deleting' },
    ends: {
      backup: { status: 'deleting', size: 1 },
      volume: { status: 'available', previous_status: 'backing-up' },
      events: [createStart, createEnd],
    },
  },
  'M-17 a create whose row is reset meanwhile': {
    ...{ operation: 'create', backup: creating, becomes: 'error' },
    ends: {
      backup: { status: 'error', size: 1 },
      volume: { status: 'available', previous_status: 'backing-up' },
      events: [createStart, createEnd],
    },
  },
  'M-20 a restore onto no volume lets go of the backup': {
    ...{ operation: 'restore', backup: restoring, volume: null },
    ends: {
      backup: good,
      messages: ['015/021'],
      ...{ events: [restoreStart, 'backup.restore.error'], isRefused: true },
    },
  },
  'M-21 a restore onto a volume in another status': {
    ...{ operation: 'restore', backup: restoring, volume: { status: 'in-use' } },
    ends: {
      backup: good,
      volume: { status: 'error_restoring' },
      messages: ['015/027'],
      ...{ events: [restoreStart, 'backup.restore.error'], isRefused: true },
    },
  },
  'M-22 a restore of a backup in another status': {
    operation: 'restore',
    ...{ backup: { status: 'available', service: swiftDriver }, volume: restored },
    ends: {
      backup: {
        status: 'error',
        fail_reason:
          'BACKUP_INVALID_STATE: Restore backup aborted, expected backup status restoring but got available.',
      },
      volume: { status: 'error' },
      messages: ['015/017'],
      ...{ events: [restoreStart, 'backup.restore.error'], isRefused: true },
    },
  },
  'M-23 a volume larger than the backup': {
    ...{ operation: 'restore', backup: restoring, volume: { ...restored, size: 9 } },
    ends: { backup: good, volume: { status: 'available' }, events: [restoreStart, restoreEnd] },
  },
  'M-24 a backup of another driver': {
    operation: 'restore',
    ...{ backup: { ...restoring, service: 'cinder.backup.drivers.nfs.NFSBackupDriver' } },
    volume: restored,
    ends: {
      backup: good,
      volume: { status: 'error' },
      ...{ events: [restoreStart, 'backup.restore.error'], isRefused: true },
    },
  },
  'M-25 no store can be opened': {
    ...{ operation: 'restore', backup: restoring, volume: restored, fails: 'ENDPOINT_NOT_FOUND' },
    ends: {
      backup: good,
      volume: { status: 'error_restoring' },
      messages: ['015/026'],
      events: [restoreStart, 'backup.restore.error'],
    },
  },
  'M-26 the attach fails': {
    ...{ operation: 'restore', backup: restoring, volume: restored, fails: 'ATTACH_FAILED' },
    ends: {
      backup: good,
      volume: { status: 'error_restoring' },
      messages: ['015/021'],
      events: [restoreStart, 'backup.restore.error'],
    },
  },
  'M-27 the restore fails': {
    ...{ operation: 'restore', backup: restoring, volume: restored, fails: 'CHUNK_CORRUPT' },
    ends: {
      backup: good,
      volume: { status: 'error_restoring' },
      messages: ['015/026'],
      events: [restoreStart, 'backup.restore.error'],
    },
  },
  'M-27 of a volume that was made for it, which is of no use to anybody': {
    ...{ operation: 'restore', backup: restoring, fails: 'CHUNK_CORRUPT' },
    volume: { status: 'creating' },
    ends: {
      backup: good,
      volume: { status: 'error' },
      messages: ['015/026'],
      events: [restoreStart, 'backup.restore.error'],
    },
  },
  'M-28 the detach fails': {
    ...{ operation: 'restore', backup: restoring, volume: restored, fails: 'DETACH_FAILED' },
    ends: {
      backup: good,
      volume: { status: 'error_restoring' },
      messages: ['015/022'],
      events: [restoreStart, 'backup.restore.error'],
    },
  },
  'M-29 a restore whose row is reset meanwhile': {
    ...{ operation: 'restore', backup: restoring, volume: restored, becomes: 'available' },
    ends: {
      backup: good,
      volume: { status: 'error' },
      events: [restoreStart, 'backup.restore.error'],
    },
  },
  'M-30 a restore': {
    ...{ operation: 'restore', backup: restoring, volume: restored },
    ends: {
      backup: good,
      volume: { status: 'available', launched_at: null },
      events: [restoreStart, restoreEnd],
    },
  },
  'M-40 a delete of a backup in another status': {
    operation: 'delete',
    backup: { status: 'available', service: swiftDriver },
    ends: {
      backup: {
        ...{ status: 'error', deleted: false },
        fail_reason:
          'BACKUP_INVALID_STATE: Delete backup aborted, expected backup status deleting but got available.',
      },
      messages: ['014/017'],
      ...{ events: [deleteStart, 'backup.delete.error'], isRefused: true },
    },
  },
  'M-41 a delete while the store has never answered': {
    ...{ operation: 'delete', backup: deleting, isReady: false },
    ends: {
      backup: { status: 'error_deleting', deleted: false },
      messages: ['014/018'],
      ...{ events: [deleteStart, 'backup.delete.error'], isRefused: true },
    },
  },
  'M-42 a delete of a backup of another driver': {
    operation: 'delete',
    backup: { ...deleting, service: 'cinder.backup.drivers.nfs.NFSBackupDriver' },
    ends: {
      backup: { status: 'error', deleted: false },
      ...{ events: [deleteStart, 'backup.delete.error'], isRefused: true },
    },
  },
  'M-43 the delete fails': {
    ...{ operation: 'delete', backup: deleting, fails: 'STORE_FORBIDDEN' },
    ends: {
      backup: {
        status: 'error',
        fail_reason: 'STORE_FORBIDDEN: as the case wants',
        deleted: false,
      },
      messages: ['014/025'],
      events: [deleteStart, 'backup.delete.error'],
    },
  },
  'M-44 a backup that no driver ever had is deleted, whether the store answers or not': {
    ...{ operation: 'delete', backup: { ...deleting, service: null }, isReady: false },
    ends: { backup: { status: 'deleted', deleted: true }, events: [deleteStart, deleteEnd] },
  },
  'M-46 a delete': {
    ...{ operation: 'delete', backup: deleting },
    ends: { backup: { status: 'deleted', deleted: true }, events: [deleteStart, deleteEnd] },
  },
  'M-52 an import that fails': {
    ...{ operation: 'import', backup: creating, fails: 'RECORD_INVALID' },
    ends: {
      backup: { status: 'error', fail_reason: 'RECORD_INVALID: as the case wants' },
      events: ['backup.import.start', 'backup.import.error'],
    },
  },
  'M-62 a reset': {
    ...{ operation: 'reset_status', backup: { status: 'error' } },
    request: { newStatus: 'available' },
    ends: { backup: { status: 'available' }, events: ['backup.reset_status.end'] },
  },
}
