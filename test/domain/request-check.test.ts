import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { Operation } from '#src/domain/job.ts'
import { type Asked, checkAsked, mergeKnown } from '#src/domain/request-check.ts'
import { aContext, aRecord } from '../support/builders.ts'

const service = 'cinder.backup.drivers.swift.SwiftBackupDriver'

const made = aRecord({
  status: 'available',
  container: 'volumebackups',
  service_metadata: 'volume_1/20261123002552/az_nova_backup_2',
  service,
  object_count: 4,
  host: 'node-1',
})

function asking(operation: Operation, fields: Partial<BackupRecord>, more: Partial<Asked> = {}) {
  const asked = { ...made, ...fields }
  return () => checkAsked({ operation, asked, known: made, context: aContext(), service, ...more })
}

test('a request that fits its record is taken', () => {
  asking('restore', {})()
  asking('delete', { container: null, service_metadata: null })()
})

for (const field of ['container', 'service_metadata', 'volume_id'] as const) {
  test(`a request with another ${field} than the backup was made with says RECORD_MISMATCH`, () => {
    const mismatch = { code: 'RECORD_MISMATCH', message: new RegExp(field) }
    assert.throws(asking('restore', { [field]: randomUUID() }), mismatch)
    assert.throws(asking('delete', { [field]: randomUUID() }), mismatch)
  })
}

test('a backup whose making failed may be deleted with whatever the sender knows', () => {
  const known = { ...made, status: 'error' as const }
  asking('delete', { container: 'elsewhere' }, { known })()
})

test("another project's backup says PROJECT_MISMATCH, but not to an admin", () => {
  const context = aContext({ projectId: 'another' })
  assert.throws(asking('restore', {}, { context }), { code: 'PROJECT_MISMATCH' })
  asking('restore', {}, { context: { ...context, isAdmin: true } })()
})

test("another driver's backup says BACKUP_NOT_OURS; an old record names the module alone", () => {
  const posix = 'cinder.backup.drivers.posix.PosixBackupDriver'
  assert.throws(asking('delete', { service: posix }), { code: 'BACKUP_NOT_OURS' })
  asking('delete', { service: 'cinder.backup.drivers.swift' })()
  asking('delete', { service: null })()
})

test('a status that does not fit is refused first', () => {
  const bad = asking('create', { status: 'available', project_id: 'another' })
  assert.throws(bad, { code: 'BACKUP_INVALID_STATE' })
})

test('what the sender of a restore or delete left out comes from what is known', () => {
  const { id, volume_id } = made
  const bare = aRecord({
    id,
    volume_id,
    status: 'restoring',
    project_id: null,
    size: null,
    display_name: null,
    created_at: null,
  })

  assert.deepEqual(mergeKnown('restore', bare, made), { ...made, status: 'restoring' })
  assert.equal(mergeKnown('delete', { ...bare, container: 'mine' }, made).container, 'mine')
  assert.equal(mergeKnown('delete', bare, null), bare)
})

test('a create is what its request says; of an earlier try only the place of its objects counts', () => {
  const known = { ...made, status: 'error' as const, parent_id: randomUUID(), size: 7 }
  const asked = aRecord({ id: made.id, size: null })
  const { container, service_metadata } = made

  const merged = mergeKnown('create', asked, known)

  assert.deepEqual(merged, { ...asked, container, service_metadata })
})

test("another project's backup is refused also where the request does not say whose it is", () => {
  const context = aContext({ projectId: 'another' })
  for (const project_id of [null, 'another']) {
    assert.throws(asking('delete', { project_id }, { context }), { code: 'PROJECT_MISMATCH' })
  }
})
