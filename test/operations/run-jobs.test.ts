import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'

import { memoryJournal } from '#src/adapters/journal/sqlite-journal.ts'
import { AgentError } from '#src/domain/errors.ts'
import { monotonicMs } from '#src/lib/clock.ts'
import type { RunOperation } from '#src/operations/operation.ts'
import { aDelivery, aRecord, aRequest } from '../support/builders.ts'
import { runnerBench, types, untilAborted } from '../support/runner-bench.ts'

test('a job that ends well leaves a record, a start and an end', async () => {
  const agent = runnerBench({ create: async () => ({ record: { object_count: 3 } }) })
  const record = aRecord()

  agent.ask(aRequest('create', record))
  await agent.idle()

  const events = agent.events()
  assert.deepEqual(types(events), ['backup.create.start', 'backup.create.end'])
  assert.deepEqual(
    events.map(({ payload }) => [payload['status'], payload['host'], payload['sequence']]),
    [
      ['creating', 'host-1', 1],
      ['available', 'host-1', 2],
    ],
  )
  assert.equal(events[0]?.payload['run'], events[1]?.payload['run'])
  assert.equal(agent.journal.record(record.id)?.status, 'available')
  assert.equal(agent.journal.record(record.id)?.object_count, 3)
  await agent.stop()
})

const failures = [
  ['create', 'error', 'STORE_UNAVAILABLE: swift is away'],
  ['restore', 'available', null],
  ['delete', 'error', 'STORE_UNAVAILABLE: swift is away'],
] as const

for (const [operation, status, failReason] of failures) {
  test(`a ${operation} that fails says so with its code and leaves the record ${status}`, async () => {
    const fails: RunOperation = async () => {
      throw new AgentError('STORE_UNAVAILABLE', 'swift is away')
    }
    const agent = runnerBench({ [operation]: fails })
    const record = aRecord({ status: null })

    agent.ask(aRequest(operation, record))
    await agent.idle()

    const [, error] = agent.events()
    assert.equal(error?.eventType, `backup.${operation}.error`)
    assert.equal(error?.priority, 'ERROR')
    assert.equal(error?.payload['code'], 'STORE_UNAVAILABLE')
    assert.equal(error?.payload['status'], status)
    assert.equal(agent.journal.record(record.id)?.fail_reason, failReason)
    await agent.stop()
  })
}

test('an import that fails is told as failed, and leaves what was known of the backup', async () => {
  const agent = runnerBench({
    import: async () => {
      throw new AgentError('STORE_UNAVAILABLE', 'swift is away')
    },
  })
  const before = aRecord({ status: 'available', container: 'c' })
  const record = { ...before, status: 'creating' as const }
  const unknown = aRecord()

  agent.ask(aRequest('import', record, { imported: before, was: before }))
  agent.ask(aRequest('import', unknown, { imported: unknown, was: null }))
  await agent.idle()

  const errors = agent.events().filter(({ eventType }) => eventType === 'backup.import.error')
  const told = errors.map(({ payload }) => [payload['status'], payload['fail_reason']])
  assert.deepEqual(told, Array(2).fill(['error', 'STORE_UNAVAILABLE: swift is away']))
  assert.deepEqual(agent.journal.record(before.id), before)
  assert.equal(agent.journal.record(unknown.id)?.status, 'error')
  await agent.stop()
})

test('a secret that a store repeats is in no event, record or outcome', async () => {
  const agent = runnerBench({
    create: async () => {
      throw new AgentError('STORE_REFUSED', 'put c/o: swift answered 400; bad token s3cret')
    },
  })

  const job = agent.ask(aRequest('create'))
  await agent.idle()

  const told = JSON.stringify([agent.events(), agent.journal.record(job.record.id)])
  assert.match(told, /bad token \*\*\*/)
  assert.doesNotMatch(told, /s3cret/)
})

const nowhere: RunOperation = async () => {
  throw new AgentError('BACKUP_NOT_FOUND', 'there is no metadata object')
}

for (const code of ['BACKUP_NOT_FOUND', 'STORE_UNAVAILABLE'] as const)
  test(`a restore of a backup whose create failed does not make it available: ${code}`, async () => {
    const agent = runnerBench({
      restore: async () => {
        throw new AgentError(code, 'no restore')
      },
      create: async () => {
        throw new AgentError('STORE_UNAVAILABLE', 'swift is away')
      },
    })
    const record = aRecord({ status: 'creating' })

    agent.ask(aRequest('create', record))
    await agent.idle()
    const was = agent.journal.record(record.id)
    agent.ask(aRequest('restore', { ...record, status: 'restoring' }, { was }))
    await agent.idle()

    const end = agent.events().at(-1)
    const { status, fail_reason } = end?.payload ?? {}
    assert.deepEqual(
      [end?.eventType, status, fail_reason],
      ['backup.restore.error', 'error', 'STORE_UNAVAILABLE: swift is away'],
    )
    assert.equal(agent.journal.record(record.id)?.status, 'error')
    await agent.stop()
  })

test('a backup that was not found once is no worse for it', async () => {
  const codes = ['BACKUP_NOT_FOUND', 'STORE_UNAVAILABLE'] as const
  let count = 0
  const agent = runnerBench({
    restore: async () => {
      throw new AgentError(codes[count++] ?? 'ASSERTION_FAILED', 'no restore')
    },
  })
  const record = aRecord({ status: 'restoring' })

  for (const _ of codes) {
    agent.ask(aRequest('restore', record, { was: agent.journal.record(record.id) }))
    await agent.idle()
  }

  const errors = agent.events().filter(({ eventType }) => eventType === 'backup.restore.error')
  const statuses = errors.map(({ payload }) => payload['status'])
  assert.deepEqual(statuses, ['available', 'available'])
  await agent.stop()
})

test('a restore that overtakes the create of its backup does not stand in its way', async () => {
  const agent = runnerBench({ restore: nowhere })
  const record = aRecord({ status: 'restoring' })

  agent.ask(aRequest('restore', record, { was: null }))
  await agent.idle()
  agent.ask(aRequest('create', { ...record, status: 'creating' }))
  await agent.idle()

  assert.equal(agent.journal.record(record.id)?.status, 'available')
  await agent.stop()
})

test('a delete cancels the create in hand and runs after it', async () => {
  const agent = runnerBench({ create: (_run, signal) => untilAborted(signal) })
  const record = aRecord()

  agent.ask(aRequest('create', record))
  agent.ask(aRequest('delete', record))
  await agent.idle()

  const events = agent.events()
  assert.deepEqual(types(events), [
    'backup.create.start',
    'backup.create.end',
    'backup.delete.start',
    'backup.delete.end',
  ])
  assert.equal(events[1]?.payload['status'], 'deleting')
  assert.equal(agent.journal.record(record.id)?.status, 'deleted')
  await agent.stop()
})

test('a delete cancels a create that still waits for its turn', async () => {
  const agent = runnerBench({ create: (_run, signal) => untilAborted(signal) }, 1)
  const record = aRecord()

  agent.ask(aRequest('create'))
  agent.ask(aRequest('create', record))
  agent.ask(aRequest('delete', record))
  while (agent.runner.inHand(record.id).length > 1) await setImmediate()

  assert.ok(types(agent.events()).includes('backup.create.end'))
  await agent.stop()
})

test('a delete takes the place of what it cancelled, before others that wait', async () => {
  const order: string[] = []
  const agent = runnerBench(
    {
      create: async ({ job }, signal) => {
        order.push(job.request.backup.record.display_name ?? '')
        await untilAborted(signal)
        return { record: {} }
      },
      delete: async () => {
        order.push('delete')
        return { record: {} }
      },
    },
    1,
  )
  const first = aRecord({ display_name: 'first' })

  agent.ask(aRequest('create', first))
  while (order.length === 0) await setImmediate()
  agent.ask(aRequest('create', aRecord({ display_name: 'second' })))
  agent.ask(aRequest('delete', first))
  while (agent.runner.inHand(first.id).length > 0) await setImmediate()

  assert.deepEqual(order.slice(0, 2), ['first', 'delete'])
  await agent.stop()
})

test('ten thousand waiting jobs do not make each other slow', async () => {
  const agent = runnerBench({ create: (_run, signal) => untilAborted(signal) }, 1)
  const job = agent.ask(aRequest('create'))
  const startMs = monotonicMs()

  for (let index = 0; index < 10_000; index += 1) {
    const request = aRequest('create')
    agent.runner.take({ ...job, id: randomUUID(), request, record: request.backup.record })
  }

  const ms = monotonicMs() - startMs
  assert.equal(agent.runner.count, 10_001)
  assert.ok(ms < 5000, `it took ${ms} ms`)
  await agent.stop()
})

/** A journal that can be written only while `isFull` says no. */
function journalOnDisk(isFull: () => boolean): ReturnType<typeof memoryJournal> {
  const journal = memoryJournal()
  const unlessFull =
    <Args extends unknown[], T>(call: (...args: Args) => T) =>
    (...args: Args): T => {
      if (isFull()) throw new AgentError('JOURNAL_UNAVAILABLE', 'database or disk is full')
      return call(...args)
    }
  return {
    ...journal,
    update: unlessFull(journal.update),
    end: unlessFull(journal.end),
    nextSequence: unlessFull(journal.nextSequence),
  }
}

test('a job that ends while the disk is full ends as it ended, once there is room', async () => {
  let isFull = false
  let fullReads = 0
  const journal = journalOnDisk(() => {
    fullReads += isFull ? 1 : 0
    return isFull
  })
  const agent = runnerBench(
    {
      create: async () => {
        isFull = true
        return { record: { object_count: 3 } }
      },
    },
    4,
    journal,
  )
  const record = aRecord()

  agent.ask(aRequest('create', record))
  while (fullReads === 0) await setImmediate()
  assert.deepEqual(types(agent.events()), ['backup.create.start'])
  isFull = false
  await agent.idle()

  assert.deepEqual(types(agent.events()), ['backup.create.start', 'backup.create.end'])
  assert.equal(agent.journal.record(record.id)?.status, 'available')
  await agent.stop()
})

test('a restore that an earlier start may have begun to write is never called untouched', async () => {
  const journal = memoryJournal()
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>()
  const first = runnerBench(
    {
      restore: (_run, signal) => {
        begin()
        return untilAborted(signal)
      },
    },
    4,
    journal,
  )
  first.ask(aRequest('restore', aRecord({ status: 'available' })))
  await begun
  await first.stop() // In order: the start does not count.
  const away: RunOperation = async () => {
    throw new AgentError('STORE_UNAVAILABLE', 'swift is away')
  }
  const second = runnerBench({ restore: away }, 4, journal)

  for (const job of journal.unfinished()) second.runner.takeLeft(job)
  await second.idle()

  assert.equal(second.events().at(-1)?.payload['target'], 'unusable')
  await second.stop()
})

test('a cancelled restore says what it restored and that the target is of no use', async () => {
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>()
  const agent = runnerBench({
    restore: async (_run, signal) => {
      begin()
      await untilAborted(signal).catch(() => undefined)
      throw new AgentError('OPERATION_CANCELLED', 'stopped', { restoredExtents: [[0, 10]] })
    },
  })
  const record = aRecord({ status: 'available' })

  agent.ask(aRequest('restore', record))
  await begun
  agent.ask(aRequest('delete', record))
  await agent.idle()

  const error = agent.events().find(({ eventType }) => eventType === 'backup.restore.error')
  assert.equal(error?.payload['code'], 'OPERATION_CANCELLED')
  assert.deepEqual(error?.payload['restored_extents'], [[0, 10]])
  assert.equal(error?.payload['target'], 'unusable')
  await agent.stop()
})

test('no more than jobs_max jobs run at once', async () => {
  let running = 0
  let most = 0
  const agent = runnerBench(
    {
      create: async () => {
        running += 1
        most = Math.max(most, running)
        await setImmediate()
        running -= 1
        return { record: {} }
      },
    },
    3,
  )

  for (let index = 0; index < 20; index += 1) agent.ask(aRequest('create'))
  await agent.idle()

  assert.equal(most, 3)
  await agent.stop()
})

test('a stop leaves the job for the next start, without an end and without counting the start', async () => {
  const agent = runnerBench({ create: (_run, signal) => untilAborted(signal) })

  agent.ask(aRequest('create'))
  await setImmediate()
  await agent.stop()

  assert.deepEqual(types(agent.events()), ['backup.create.start'])
  assert.deepEqual(
    agent.journal.unfinished().map(({ starts }) => starts),
    [0],
  )
})

test('a job that three starts began and none moved ends in error', async () => {
  const agent = runnerBench({})
  const acceptance = agent.journal.accept(aDelivery(aRequest('create')))
  assert.ok(acceptance.kind === 'new')
  for (let start = 0; start < 3; start += 1) agent.journal.begin(acceptance.job.id, null)

  for (const job of agent.journal.unfinished()) agent.runner.takeLeft(job)
  await agent.idle()

  const error = agent.events().at(-1)
  assert.equal(error?.eventType, 'backup.create.error')
  assert.equal(error?.payload['code'], 'CRASHED_REPEATEDLY')
  await agent.stop()
})
