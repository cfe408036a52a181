// A job whose token ends in the middle: it waits for another, and is in nobody's way meanwhile.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'

import { memoryJournal } from '#src/adapters/journal/sqlite-journal.ts'
import { AgentError } from '#src/domain/errors.ts'
import type { JobRequest } from '#src/domain/job.ts'
import type { RunOperation } from '#src/operations/operation.ts'
import { noRows } from '#src/operations/rows.ts'
import { aContext, aDelivery, aRecord, aRequest } from '../support/builders.ts'
import { runnerBench, types } from '../support/runner-bench.ts'

const longMs = 600_000
const expired = () => new AgentError('TOKEN_EXPIRED', 'keystone takes the token no more')

/** Gets on under the first prefix it has, and ends with its token unless that is `good`. */
const needsToken: RunOperation = async ({ job, reached, record, change }, signal) => {
  reached(1024)
  const prefix = record().service_metadata ?? `prefix of token ${job.context.authToken}`
  await change({ service_metadata: prefix }, signal)
  if (job.context.authToken !== 'good') throw expired()
  return { record: { object_count: 7 } }
}

type Bench = ReturnType<typeof runnerBench>

const waitingIn = (agent: Bench) =>
  agent.events().filter(({ eventType }) => eventType.endsWith('.waiting'))

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await setImmediate()
}

/** Asks for the same once more, with this token. */
function askAgain({ journal, runner }: Bench, request: JobRequest, authToken: string): void {
  const delivery = { ...aDelivery(request), context: aContext({ authToken }) }
  const acceptance = journal.accept(delivery)
  assert.ok(acceptance.kind === 'joined')
  runner.renew(acceptance.job.id)
}

test('a job that has got on waits for a new token, and goes on with it', async () => {
  const agent = runnerBench({ create: needsToken }, 1, memoryJournal(), noRows, longMs)
  const request = aRequest('create')

  agent.ask(request)
  await until(() => waitingIn(agent).length === 1)
  askAgain(agent, request, 'good')
  await agent.idle()

  const events = agent.events()
  assert.deepEqual(types(events), [
    'backup.create.start',
    'backup.create.waiting',
    'backup.create.end',
  ])
  const { payload, priority } = waitingIn(agent)[0] ?? assert.fail()
  assert.equal(priority, 'INFO')
  assert.equal(payload['status'], 'creating')
  assert.equal(payload['waits_for'], 'auth')
  assert.equal(payload['seconds_max'], longMs / 1000)
  assert.equal(payload['code'], 'TOKEN_EXPIRED')
  assert.equal(new Set(events.map((event) => event.payload['run'])).size, 1)
  const { object_count, service_metadata } =
    agent.journal.record(request.backup.record.id) ?? assert.fail()
  assert.equal(object_count, 7)
  assert.match(String(service_metadata), /^prefix/)
  assert.doesNotMatch(String(service_metadata), /good/, 'what the first start noted is kept')
  await agent.stop()
})

test('while it waits others have its place, and starts that ended so are no crashes', async () => {
  const agent = runnerBench({ create: needsToken }, 1, memoryJournal(), noRows, longMs)
  const request = aRequest('create')
  agent.ask(request)
  await until(() => waitingIn(agent).length === 1)

  agent.ask(aRequest('delete'))
  await until(() => types(agent.events()).includes('backup.delete.end'))
  for (let count = 2; count <= 6; count += 1) {
    askAgain(agent, request, `bad ${count}`)
    await until(() => waitingIn(agent).length === count)
  }
  askAgain(agent, request, 'good')
  await agent.idle()

  assert.equal(agent.events().at(-1)?.eventType, 'backup.create.end')
  await agent.stop()
})

test('a token that came while the job ran is used as soon as its own has ended', async () => {
  const running = Promise.withResolvers<void>()
  const create: RunOperation = async (run, signal) => {
    await running.promise
    return needsToken(run, signal)
  }
  const agent = runnerBench({ create }, 1, memoryJournal(), noRows, longMs)
  const request = aRequest('create')
  agent.ask(request)
  await until(() => agent.events().length === 1)
  askAgain(agent, request, 'good')
  running.resolve()
  await agent.idle()

  assert.equal(agent.events().at(-1)?.eventType, 'backup.create.end')
  await agent.stop()
})

test('a job that waits in vain fails with its reason', async () => {
  const agent = runnerBench({ create: needsToken }, 1, memoryJournal(), noRows, 20)
  const job = agent.ask(aRequest('create'))
  await agent.idle()

  assert.deepEqual(types(agent.events()), [
    'backup.create.start',
    'backup.create.waiting',
    'backup.create.error',
  ])
  const { fail_reason, status } = agent.journal.record(job.record.id) ?? assert.fail()
  assert.equal(status, 'error')
  assert.match(String(fail_reason), /^TOKEN_EXPIRED: /)
  await agent.stop()
})

test('a job that has not got on fails at once: nothing is lost with it', async () => {
  const create: RunOperation = async () => {
    throw expired()
  }
  const agent = runnerBench({ create }, 1, memoryJournal(), noRows, longMs)
  agent.ask(aRequest('create'))
  await agent.idle()

  assert.deepEqual(types(agent.events()), ['backup.create.start', 'backup.create.error'])
  await agent.stop()
})

test('a delete cancels a job that waits', async () => {
  const agent = runnerBench({ create: needsToken }, 1, memoryJournal(), noRows, longMs)
  const record = aRecord({ status: 'creating' })
  agent.ask(aRequest('create', record))
  await until(() => waitingIn(agent).length === 1)

  agent.ask(aRequest('delete', record))
  await agent.idle()

  assert.deepEqual(types(agent.events()).slice(2), [
    'backup.create.end',
    'backup.delete.start',
    'backup.delete.end',
  ])
  await agent.stop()
})

test('a job that waits when the agent stops goes on at the next start', async () => {
  const journal = memoryJournal()
  const agent = runnerBench({ create: needsToken }, 1, journal, noRows, longMs)
  const request = aRequest('create')
  agent.ask(request)
  await until(() => waitingIn(agent).length === 1)
  await agent.stop()

  const delivery = { ...aDelivery(request), context: aContext({ authToken: 'good' }) }
  assert.equal(journal.accept(delivery).kind, 'joined')
  const next = runnerBench({ create: needsToken }, 1, journal, noRows, longMs)
  for (const job of journal.unfinished()) next.runner.takeLeft(job)
  await next.idle()

  assert.equal(next.events().at(-1)?.eventType, 'backup.create.end')
  await next.stop()
})
