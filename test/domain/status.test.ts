import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { BackupStatus } from '#src/domain/backup-record.ts'
import type { JobOutcome, Operation } from '#src/domain/job.ts'
import { checkStatus, statusAfter, statusDuring } from '#src/domain/status.ts'

const statuses: readonly (BackupStatus | null)[] = [
  ...[null, 'error', 'error_deleting', 'creating'],
  ...['available', 'deleting', 'deleted', 'restoring'],
] as readonly (BackupStatus | null)[]

const taken: Readonly<Record<Operation, readonly (BackupStatus | null)[]>> = {
  create: [null, 'creating'],
  restore: ['available', 'restoring'],
  delete: statuses,
  import: [null, 'creating'],
  reset_status: statuses,
}

for (const operation of ['create', 'restore', 'delete', 'import', 'reset_status'] as const) {
  for (const status of statuses) {
    const isTaken = taken[operation].includes(status)
    test(`${operation} of a backup that is ${status} is ${isTaken ? 'taken' : 'refused'}`, () => {
      const check = () => checkStatus(operation, 'id', status)
      if (isTaken) check()
      else assert.throws(check, { code: 'BACKUP_INVALID_STATE' })
    })
  }
}

const ends: readonly (readonly [Operation, JobOutcome['kind'], BackupStatus])[] = [
  ['create', 'done', 'available'],
  ['create', 'failed', 'error'],
  ['create', 'cancelled', 'deleting'],
  ['restore', 'done', 'available'],
  ['restore', 'failed', 'available'],
  ['restore', 'cancelled', 'available'],
  ['delete', 'done', 'deleted'],
  ['delete', 'failed', 'error'],
  ['import', 'done', 'available'],
  ['import', 'failed', 'error'],
  ['import', 'cancelled', 'deleting'],
]

for (const [operation, outcome, status] of ends) {
  test(`after a ${operation} that is ${outcome} the backup is ${status}`, () => {
    assert.equal(statusAfter(operation, outcome), status)
  })
}

test('while it is worked on, a backup says so', () => {
  const during = (['create', 'restore', 'delete'] as const).map(statusDuring)
  assert.deepEqual(during, ['creating', 'restoring', 'deleting'])
})
