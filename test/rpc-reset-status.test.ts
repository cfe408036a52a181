import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import { failureOf } from '#src/adapters/rpc/oslo-failure.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { AgentError } from '#src/domain/errors.ts'
import type { JsonObject } from '#src/domain/json.ts'
import type { RpcRequest } from '#src/ports/rpc.ts'
import { aContext, aRecord } from './support/builders.ts'
import { ask, call, handlerBench } from './support/handler-bench.ts'
import { stockArgs } from './support/stock-calls.ts'

const admin = aContext({ isAdmin: true })

const resetting = (
  record: BackupRecord,
  status: string,
  { args = {}, ...fields }: Partial<RpcRequest> = {},
) => call('reset_status', { backup: { ...record }, status, ...args }, fields)

for (const [step, status] of [
  ['reset-status-error', 'error'],
  ['reset-status-available', 'available'],
] as const) {
  test(`what the real API sends to reset to ${status} becomes a job`, async () => {
    const agent = handlerBench()
    const asked = stockArgs(step)

    const disposition = await agent.handle(call('reset_status', asked, { context: admin }))

    const [job] = agent.journal.unfinished()
    assert.equal(disposition.kind, 'accepted')
    assert.equal(job?.request.newStatus, status)
    const data = (asked['backup'] as JsonObject)['versioned_object.data'] as JsonObject
    assert.deepEqual(job?.record, data)
  })
}

test('the same reset asked for again in hand is one job, to another status it is another', async () => {
  const agent = handlerBench()
  const record = agent.known()

  const first = await agent.handle(resetting(record, 'error'))
  assert.deepEqual(await agent.handle(resetting(record, 'error')), first)
  await agent.handle(resetting(record, 'available'))

  assert.equal(agent.runner.count, 2)
})

test("another driver's backup is refused in the words of Cinder, and its record is untouched", async () => {
  const agent = handlerBench()
  const record = aRecord({ service: 'x.y.Other', status: 'available' })

  await assert.rejects(agent.handle(resetting(record, 'error')), (error: AgentError) => {
    const { class: name, message } = failureOf(error)
    assert.equal(name, 'InvalidBackup')
    assert.equal(
      message,
      'Invalid backup: Reset backup status aborted, the backup service currently configured [cinder.backup.drivers.swift.SwiftBackupDriver] is not the backup service that was used to create this backup [x.y.Other].',
    )
    return true
  })

  const [event] = agent.events()
  assert.equal(event?.eventType, 'backup.reset_status.error')
  assert.equal(event?.payload['status'], 'available')
})

test('a record that names no service is left alone, as Cinder does', async () => {
  const agent = handlerBench()

  const disposition = await agent.handle(resetting(aRecord({ status: 'error' }), 'available'))

  assert.deepEqual(disposition, { kind: 'answered', result: null })
  assert.deepEqual(agent.journal.unfinished(), [])
  assert.deepEqual(agent.events(), [])
})

for (const status of ['creating', 'deleted', '', 7, null]) {
  test(`nothing is reset to ${JSON.stringify(status)}`, async () => {
    const agent = handlerBench()
    const request = call('reset_status', { backup: { ...agent.known() }, status })

    await assert.rejects(agent.handle(request), { code: 'ARGUMENT_INVALID', message: /^status/ })
  })
}

test("another project's backup is not reset", async () => {
  const agent = handlerBench()
  const foreign = { ...agent.known(), project_id: 'another' }

  await assert.rejects(agent.handle(resetting(foreign, 'error')), { code: 'PROJECT_MISMATCH' })
})

test('while a delete is in hand nothing is reset', async () => {
  const agent = handlerBench()
  const record = agent.known()
  await agent.handle(ask('delete', record))

  await assert.rejects(agent.handle(resetting(record, 'error')), {
    code: 'BACKUP_INVALID_STATE',
    message: `cannot reset the status of backup ${record.id} to error: its delete is in hand here; ask again when that has ended`,
  })
})

test('a backup in the making is not available by a word, but may be given up', async () => {
  const agent = handlerBench()
  const record = aRecord()
  await agent.handle(ask('create', record))

  await assert.rejects(agent.handle(resetting(record, 'available')), {
    code: 'BACKUP_INVALID_STATE',
    message: /to available: its create is in hand here/,
  })
  const { kind } = await agent.handle(resetting(record, 'error'))

  assert.equal(kind, 'accepted')
})

test('a restore that is asked for after a reset waits for it', async () => {
  const agent = handlerBench()
  const record = agent.known()
  await agent.handle(resetting(record, 'available'))

  const { kind } = await agent.handle(ask('restore', record))

  assert.equal(kind, 'accepted')
})

for (const status of ['creating', 'restoring'] as const) {
  test(`a reset of a backup that is ${status} elsewhere goes to that host, once`, async () => {
    const agent = handlerBench()
    const record = aRecord({ id: randomUUID(), host: 'host-2', status, service: null })

    const disposition = await agent.handle(resetting(record, 'error'))

    assert.deepEqual(disposition, { kind: 'ignored' })
    assert.deepEqual(agent.journal.unfinished(), [])
    const [cast, ...others] = agent.publisher.casts
    assert.deepEqual(others, [])
    assert.deepEqual(
      [cast?.to, cast?.method, cast?.args['passed_on'], cast?.args['status']],
      ['cinder-backup.host-2', 'reset_status', true, 'error'],
    )
  })
}

test('a reset that was passed on, or is of a finished backup, is done here', async () => {
  const agent = handlerBench()
  const elsewhere = { host: 'host-2', service: 'cinder.backup.drivers.swift' }
  const passedOn = { args: { passed_on: true } }

  await agent.handle(resetting(aRecord({ ...elsewhere, status: 'restoring' }), 'error', passedOn))
  await agent.handle(resetting(aRecord({ ...elsewhere, status: 'available' }), 'error'))

  assert.equal(agent.journal.unfinished().length, 2)
  assert.deepEqual(agent.publisher.casts, [])
})
