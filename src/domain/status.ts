import { type BackupStatus, backupStatuses } from './backup-record.ts'
import { AgentError } from './errors.ts'
import type { JobOutcome, Operation } from './job.ts'

type Path = {
  /** The statuses a request may find; null: the record says none (decision D3). */
  readonly from: readonly (BackupStatus | null)[]
  /** null, here and below: as it was. */
  readonly during: BackupStatus | null
  readonly done: BackupStatus | null
  readonly failed: BackupStatus | null
  readonly cancelled: BackupStatus | null
}

const every: readonly (BackupStatus | null)[] = [null, ...backupStatuses]

// The life of a backup record under each operation. Source: cinder/backup/manager.py, and decisions
// D3 and D29 for records that travel with the request.
const paths = {
  create: {
    from: [null, 'creating'],
    during: 'creating',
    done: 'available',
    failed: 'error',
    cancelled: 'deleting', // The delete or reset that cancels it follows at once.
  },
  restore: {
    from: ['restoring', 'available'],
    during: 'restoring',
    done: 'available',
    failed: 'available', // The backup is still good; the volume is not.
    cancelled: 'available',
  },
  delete: {
    from: every,
    during: 'deleting',
    done: 'deleted',
    failed: 'error',
    cancelled: 'error',
  },
  import: {
    from: [null, 'creating'],
    during: 'creating',
    done: 'available',
    failed: 'error',
    cancelled: 'deleting', // As a create.
  },
  reset_status: {
    from: every,
    during: null,
    done: null, // What was asked for.
    failed: null,
    cancelled: null,
  },
} as const satisfies Record<Operation, Path>

/** Throws BACKUP_INVALID_STATE where a record in `status` cannot be asked for `operation`. */
export function checkStatus(operation: Operation, backupId: string, status: BackupStatus | null) {
  const { from }: Path = paths[operation]
  if (from.includes(status)) return
  const expected = from.map((one) => one ?? 'none').join(' or ')
  throw new AgentError(
    'BACKUP_INVALID_STATE',
    `${operation} backup ${backupId} aborted: expected backup status ${expected} but got ${status ?? 'none'}`,
    { backupId, status },
  )
}

export function statusDuring(operation: Operation): BackupStatus | null {
  return paths[operation].during
}

export function statusAfter(
  operation: Operation,
  outcome: JobOutcome['kind'],
): BackupStatus | null {
  return paths[operation][outcome]
}
