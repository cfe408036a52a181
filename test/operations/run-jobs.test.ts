import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'

import { memoryJournal } from '#src/adapters/journal/sqlite-journal.ts'
import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { AgentError } from '#src/domain/errors.ts'
import type { Job, JobRequest } from '#src/domain/job.ts'
import { monotonicMs } from '#src/lib/clock.ts'
import type { Operations, RunOperation } from '#src/operations/operation.ts'
import { jobRunner } from '#src/operations/run-jobs.ts'
import { aDelivery, aRecord, aRequest } from '../support/builders.ts'
import { recordingPublisher } from '../support/recording-publisher.ts'

/** A runner over a memory journal, whose operations are the test's. */
function setUp(operations: Partial<Operations>, jobsMax = 4, journal = memoryJournal()) {
  const publisher = recordingPublisher()
  const stop = new AbortController()
  const never: RunOperation = async () => ({ record: {} })
  const forgotten: string[] = []
  const work = { forget: async (jobId: string) => void forgotten.push(jobId) }
  const runner = jobRunner({
    journal,
    outbox: journal,
    publisher,
    work,
    operations: { create: never, restore: never, delete: never, ...operations },
    host: 'host-1',
    jobsMax,
    log: recordingLog(),
    onCount: () => undefined,
  })
  const running = runner.run(stop.signal)

  return {
    journal,
    runner,
    /** The jobs whose kept files were removed. */
    forgotten,
    ask(request: JobRequest): Job {
      const acceptance = journal.accept(aDelivery(request))
      assert.ok(acceptance.kind === 'new')
      runner.take(acceptance.job)
      return acceptance.job
    },
    /** Resolves when no job is in hand. */
    async idle() {
      while (runner.count > 0) await setImmediate()
    },
    events: () => journal.events(99).map(({ notification }) => notification),
    async stop() {
      stop.abort(new AgentError('AGENT_STOPPING', 'stopping'))
      await running
    },
  }
}

/** Rejects as an operation does when its signal aborts. */
function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) return reject(signal.reason)
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}

const types = (events: readonly { eventType: string }[]) => events.map((event) => event.eventType)

test('a job that ends well leaves a record, a start and an end', async () => {
  const agent = setUp({ create: async () => ({ record: { object_count: 3 } }) })
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
    const agent = setUp({ [operation]: fails })
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

test('a delete cancels the create in hand and runs after it', async () => {
  const agent = setUp({ create: (_run, signal) => untilAborted(signal) })
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
  const agent = setUp({ create: (_run, signal) => untilAborted(signal) }, 1)
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
  const agent = setUp(
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
  const agent = setUp({ create: (_run, signal) => untilAborted(signal) }, 1)
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
  const agent = setUp(
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
  const first = setUp(
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
  const second = setUp({ restore: away }, 4, journal)

  for (const job of journal.unfinished()) second.runner.take(job)
  await second.idle()

  assert.equal(second.events().at(-1)?.payload['target'], 'unusable')
  await second.stop()
})

test('a cancelled restore says what it restored and that the target is of no use', async () => {
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>()
  const agent = setUp({
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
  const agent = setUp(
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
  const agent = setUp({ create: (_run, signal) => untilAborted(signal) })

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
  const agent = setUp({})
  const acceptance = agent.journal.accept(aDelivery(aRequest('create')))
  assert.ok(acceptance.kind === 'new')
  for (let start = 0; start < 3; start += 1) agent.journal.begin(acceptance.job.id, null)

  for (const job of agent.journal.unfinished()) agent.runner.take(job)
  await agent.idle()

  const error = agent.events().at(-1)
  assert.equal(error?.eventType, 'backup.create.error')
  assert.equal(error?.payload['code'], 'CRASHED_REPEATEDLY')
  await agent.stop()
})
