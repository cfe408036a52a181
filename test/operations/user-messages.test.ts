import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import { memoryJournal } from '#src/adapters/journal/sqlite-journal.ts'
import { type ErrorCode, errorCodes } from '#src/domain/errors.ts'
import type { Job, Operation } from '#src/domain/job.ts'
import { userMessage } from '#src/operations/user-messages.ts'
import { aContext, aDelivery, aRecord, aRequest } from '../support/builders.ts'

// What the tenant reads of a failure, by Cinder's own numbers. Source: cinder/message/message_field.py.

const places: Partial<Record<ErrorCode, string>> = {
  BACKUP_INVALID_STATE: '017',
  AGENT_NOT_READY: '018',
  DEVICE_TIMED_OUT: '019',
  ...{ ATTACH_FAILED: '021', CONNECTION_UNSUPPORTED: '021', VOLUME_NOT_FOUND: '021' },
  ...{ VOLUME_OUTSIDE_ROOTS: '021', VOLUME_IN_USE: '021' },
  DETACH_FAILED: '022',
  VOLUME_INVALID_STATE: '027',
}

const record = aRecord()
const targetVolumeId = randomUUID()

function aJob(operation: Operation, context = aContext()): Job {
  const target = operation === 'restore' ? { targetVolumeId } : {}
  const request = aRequest(operation, record, target)
  const acceptance = memoryJournal().accept({ ...aDelivery(request), context })
  assert.ok(acceptance.kind === 'new')
  return acceptance.job
}

for (const [operation, action, otherwise, silent] of [
  ['create', '013', '020', ['VOLUME_INVALID_STATE', 'SNAPSHOT_INVALID_STATE']],
  ['delete', '014', '025', ['BACKUP_NOT_OURS']],
  ['restore', '015', '026', ['BACKUP_NOT_OURS']],
] as const) {
  test(`a ${operation} that fails is told of as ${action}, and where it failed if that is known, else as ${otherwise}`, () => {
    const job = aJob(operation)
    for (const code of errorCodes) {
      const message = userMessage(job, record, code)

      const isSilent = silent.some((one) => one === code)
      assert.equal(message === null, isSilent, code)
      if (message === null) continue
      assert.deepEqual(
        [message.actionId, message.detailId],
        [action, places[code] ?? otherwise],
        code,
      )
      const isOfVolume = operation === 'restore' && code === 'VOLUME_INVALID_STATE'
      assert.equal(message.resourceId, isOfVolume ? targetVolumeId : record.id, code)
      assert.equal(message.resourceType, 'VOLUME_BACKUP')
      assert.equal(message.projectId, record.project_id)
      assert.equal(message.requestId, job.context.requestId)
    }
  })
}

test('an import and a reset leave no message, and nobody gets one who is of no project', () => {
  for (const operation of ['import', 'reset_status'] as const) {
    assert.equal(userMessage(aJob(operation), record, 'STORE_UNAVAILABLE'), null)
  }
  const nobodys = { ...record, project_id: null }
  assert.equal(
    userMessage(aJob('create', aContext({ projectId: null })), nobodys, 'STORE_REFUSED'),
    null,
  )
  const asked = userMessage(
    aJob('create', aContext({ projectId: 'the asker' })),
    nobodys,
    'STORE_REFUSED',
  )
  assert.equal(asked?.projectId, 'the asker')
})
