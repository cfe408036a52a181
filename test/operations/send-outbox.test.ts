import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'

import { memoryJournal } from '#src/adapters/journal/sqlite-journal.ts'
import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { AgentError } from '#src/domain/errors.ts'
import type { JobOutcome } from '#src/domain/job.ts'
import { sendOutbox } from '#src/operations/send-outbox.ts'
import type { Publisher, ReplyAddress } from '#src/ports/rpc.ts'
import { aDelivery, anEvent, aRecord, aRequest } from '../support/builders.ts'
import { recordingPublisher } from '../support/recording-publisher.ts'

function setUp() {
  const journal = memoryJournal()
  const publisher = recordingPublisher()
  const log = recordingLog()

  return {
    journal,
    publisher,
    log,
    /** Sends until `isDone`, then stops as the agent does. */
    async sendUntil(isDone: () => boolean, over: Publisher = publisher) {
      const stop = new AbortController()
      const sending = sendOutbox({ outbox: journal, publisher: over, log }, stop.signal)
      while (!isDone()) await setImmediate()
      stop.abort(new AgentError('AGENT_STOPPING', 'made up'))
      await sending
    },
    /** A job with a caller, ended. */
    end(outcome: JobOutcome, replyTo: ReplyAddress | null = null) {
      const acceptance = journal.accept(aDelivery(aRequest('create', aRecord()), { replyTo }))
      assert.ok(acceptance.kind === 'new')
      const { job } = acceptance
      journal.begin(job.id, anEvent('backup.create.start'))
      journal.end(job.id, outcome, job.record, [anEvent('backup.create.end')])
    },
  }
}

function aCaller(): ReplyAddress {
  const msgId = randomUUID().replaceAll('-', '')
  return { kind: 'oslo', queue: `reply_${msgId}`, msgId, monitorSeconds: null }
}

test('events leave in their order, those that come while it waits too, and are gone then', async () => {
  const { journal, publisher, end, sendUntil } = setUp()
  for (let count = 0; count < 20; count += 1) end({ kind: 'done' })
  const expected = journal.events(99).map(({ notification }) => notification)

  await sendUntil(() => {
    if (publisher.events.length === 40) {
      end({ kind: 'done' })
      expected.push(...journal.events(99).map(({ notification }) => notification))
    }
    return publisher.events.length === 42
  })

  assert.deepEqual(publisher.events, expected)
  assert.deepEqual(journal.events(99), [])
})

test('an event that the broker has not confirmed is sent again, the same bytes', async () => {
  const { journal, publisher, end, sendUntil } = setUp()
  end({ kind: 'done' })
  const tried: unknown[] = []
  const unconfirmed: Publisher = {
    ...publisher,
    async notify(notification, signal) {
      tried.push(notification)
      await new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason), { once: true })
      })
    },
  }

  await sendUntil(() => tried.length === 1, unconfirmed)
  const kept = journal.events(99).length
  await sendUntil(() => publisher.events.length === 2)

  assert.equal(kept, 2)
  assert.deepEqual(publisher.events[0], tried[0])
})

test('while rows cannot be removed nothing is sent twice, and the log has one line of it', async () => {
  const { journal, publisher, log, end } = setUp()
  const stop = new AbortController()
  let refusals = 0
  const full = (): never => {
    refusals += 1
    throw new AgentError('JOURNAL_UNAVAILABLE', 'database or disk is full')
  }
  const isFull = () => refusals < 2
  const outbox: typeof journal = {
    ...journal,
    eventSent: (position) => (isFull() ? full() : journal.eventSent(position)),
  }
  end({ kind: 'done' })

  const sending = sendOutbox({ outbox, publisher, log }, stop.signal)
  while (journal.events(9).length > 0) await setImmediate()
  stop.abort()
  await sending

  assert.deepEqual(
    publisher.events.map(({ eventType }) => eventType),
    ['backup.create.start', 'backup.create.end'],
  )
  assert.equal(log.lines.filter(({ level }) => level === 'warn').length, 1)
})

test('callers learn how it ended; one who is gone keeps nobody waiting', async () => {
  const { journal, publisher, end, sendUntil } = setUp()
  const [gone, first, second] = [aCaller(), aCaller(), aCaller()]
  end({ kind: 'done' }, gone)
  end({ kind: 'done' }, first)
  end({ kind: 'failed', code: 'STORE_FULL', message: 'made up' }, second)
  const over: Publisher = {
    ...publisher,
    reply: (to, answer, signal) =>
      to.queue === gone.queue
        ? new Promise((_, reject) => {
            signal.addEventListener('abort', () => reject(signal.reason), { once: true })
          })
        : publisher.reply(to, answer, signal),
  }

  await sendUntil(() => publisher.replies.length === 2 && publisher.events.length === 6, over)

  const [one, two] = publisher.replies
  assert.deepEqual(one, { to: first, answer: { result: null } })
  assert.deepEqual(two?.to, second)
  assert.ok(two !== undefined && 'failure' in two.answer)
  assert.equal(two.answer.failure.code, 'STORE_FULL')
  const waiting = journal.replies().map(({ replyTo }) => replyTo)
  assert.deepEqual(waiting, [gone])
})

test('a caller whose queue stays away is given up, with a word in the log', async () => {
  const { journal, publisher, log, end, sendUntil } = setUp()
  end({ kind: 'done' }, aCaller())
  const over: Publisher = { ...publisher, reply: async () => false }

  await sendUntil(() => journal.replies().length === 0, over)

  assert.equal(log.lines.filter(({ message }) => message.includes('a caller is gone')).length, 1)
})
