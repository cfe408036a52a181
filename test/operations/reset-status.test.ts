import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'

import { AgentError } from '#src/domain/errors.ts'
import type { RunOperation } from '#src/operations/operation.ts'
import { aRecord, aRequest } from '../support/builders.ts'
import { runnerBench, types, untilAborted } from '../support/runner-bench.ts'

const untilCancelled: RunOperation = (_run, signal) => untilAborted(signal)

const made = () =>
  aRecord({
    status: 'available',
    container: 'c',
    service_metadata: 'p',
    host: 'host-of-the-maker',
    fail_reason: 'as it was',
  })

test('a reset changes the status alone, and is told by its end alone', async () => {
  const agent = runnerBench({})
  const record = made()

  agent.ask(aRequest('reset_status', record))
  await agent.idle()

  const [event, ...others] = agent.events()
  assert.deepEqual(others, [])
  assert.equal(event?.eventType, 'backup.reset_status.end')
  assert.equal(event?.priority, 'INFO')
  assert.deepEqual(event?.payload['record'], { ...record, status: 'error' })
  assert.deepEqual(agent.journal.record(record.id), { ...record, status: 'error' })
  await agent.stop()
})

test('a reset of a backup that is restored cancels the restore, which says what it left', async () => {
  const agent = runnerBench({
    restore: async (run, signal) => {
      await run.change({ object_count: 7 }, signal)
      await untilAborted(signal).catch(() => {
        throw new AgentError('OPERATION_CANCELLED', 'x', { restoredExtents: [[0, 512]] })
      })
      return { record: {} }
    },
  })
  const record = made()

  const job = agent.ask(aRequest('restore', record))
  while (agent.journal.record(record.id)?.object_count !== 7) await setImmediate()
  agent.ask(aRequest('reset_status', record, { newStatus: 'available' }))
  await agent.idle()

  const events = agent.events()
  const ends = ['backup.restore.start', 'backup.restore.error', 'backup.reset_status.end']
  assert.deepEqual(types(events), ends)
  const { code, message, target, restored_extents, status } = events[1]?.payload ?? {}
  assert.deepEqual(
    { code, message, target, restored_extents, status },
    {
      code: 'OPERATION_CANCELLED',
      message: `restore of backup ${record.id} cancelled by a reset of its status`,
      target: 'unusable',
      restored_extents: [[0, 512]],
      status: 'available',
    },
  )
  const now = agent.journal.record(record.id)
  assert.deepEqual([now?.status, now?.object_count], ['available', 7])
  assert.deepEqual(agent.forgotten.includes(job.id), true)
  await agent.stop()
})

test('a reset of a backup in the making ends that as Cinder does, then sets the status', async () => {
  const agent = runnerBench({
    create: async (run, signal) => {
      await run.change({ container: 'c', service_metadata: 'p', service: 's' }, signal)
      return untilAborted(signal)
    },
  })
  const record = aRecord()

  agent.ask(aRequest('create', record))
  while (agent.journal.record(record.id)?.container !== 'c') await setImmediate()
  agent.ask(aRequest('reset_status', record))
  await agent.idle()

  const events = agent.events()
  const ends = ['backup.create.start', 'backup.create.end', 'backup.reset_status.end']
  assert.deepEqual(types(events), ends)
  assert.equal(events[1]?.payload['status'], 'deleting')
  const { status, container, service_metadata } = agent.journal.record(record.id) ?? record
  // Where its objects lie stays known, so that a delete finds them.
  assert.deepEqual([status, container, service_metadata], ['error', 'c', 'p'])
  await agent.stop()
})

test('a reset does not wait for a free place', async () => {
  const agent = runnerBench({ create: untilCancelled }, 1)
  const record = made()
  agent.ask(aRequest('create'))
  agent.ask(aRequest('create'))

  agent.ask(aRequest('reset_status', record))
  while (agent.runner.inHand(record.id).length > 0) await setImmediate()

  assert.equal(agent.journal.record(record.id)?.status, 'error')
  assert.equal(agent.runner.count, 2)
  await agent.stop()
})

test('resets and a delete of one backup run in the order in which they came', async () => {
  const agent = runnerBench({ create: untilCancelled })
  const record = aRecord()

  agent.ask(aRequest('create', record))
  agent.ask(aRequest('reset_status', record))
  agent.ask(aRequest('reset_status', record, { newStatus: 'available' }))
  agent.ask(aRequest('delete', record))
  await agent.idle()

  assert.deepEqual(
    agent.events().map(({ eventType, payload }) => `${eventType} ${payload['status']}`),
    [
      'backup.create.start creating',
      'backup.create.end deleting',
      'backup.reset_status.end error',
      'backup.reset_status.end available',
      'backup.delete.start deleting',
      'backup.delete.end deleted',
    ],
  )
  await agent.stop()
})

test('a reset that the stop of the agent cut off is done at the next start', async () => {
  const before = runnerBench({})
  const record = made()
  await before.stop()
  before.ask(aRequest('reset_status', record))
  assert.deepEqual(before.events(), [])

  const after = runnerBench({}, 4, before.journal)
  for (const job of after.journal.unfinished()) after.runner.takeLeft(job)
  await after.idle()

  assert.deepEqual(types(after.events()), ['backup.reset_status.end'])
  await after.stop()
})
