import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'

import type { HeardEvent } from '#src/adapters/rpc/rabbit-scheduler.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import { AgentError, type ErrorCode } from '#src/domain/errors.ts'
import type { Operation } from '#src/domain/job.ts'
import type { JsonObject } from '#src/domain/json.ts'
import { monotonicMs } from '#src/lib/clock.ts'
import type { DrivenAgent } from './driven-agent.ts'
import { noise } from './volume-data.ts'

/** How long a good message may wait after a bad one. */
const patienceMs = 1000

/** The next good message is served: taken within a second, and to a good end. */
export async function assertServes(agent: DrivenAgent): Promise<void> {
  const { scheduler } = agent
  const asked = agent.asked(await agent.newVolume(noise('good', 4096)))
  const startMs = monotonicMs()
  await scheduler.ask('create', asked)
  const ms = Math.round(monotonicMs() - startMs)
  assert.ok(ms <= patienceMs, `the next good message was served after ${ms} ms`)
  assert.equal((await scheduler.ended('create', asked.id)).payload['status'], 'available')
}

/** The request is refused when it is asked, with this code and text, and an event says the same. */
export async function assertRefused(
  agent: DrivenAgent,
  operation: Operation,
  asked: { readonly record: BackupRecord; readonly extra?: JsonObject },
  code: ErrorCode,
  text: RegExp,
): Promise<HeardEvent> {
  const { record, extra = {} } = asked
  await assertRejected(agent.scheduler.ask(operation, record, extra), code, text)
  const event = await agent.scheduler.ended(operation, record.id)
  assertErrorEvent(event, operation, code, text)
  await assertServes(agent)
  return event
}

/** The request is taken, and its job ends with this code and text. */
export async function assertFails(
  agent: DrivenAgent,
  operation: Operation,
  asked: { readonly record: BackupRecord; readonly extra?: JsonObject },
  code: ErrorCode,
  text: RegExp,
): Promise<HeardEvent> {
  const { record, extra = {} } = asked
  const event = await agent.scheduler.run(operation, record, extra)
  assertErrorEvent(event, operation, code, text)
  await assertServes(agent)
  return event
}

export async function assertRejected(
  asking: Promise<unknown>,
  code: ErrorCode,
  text: RegExp,
): Promise<void> {
  await assert.rejects(asking, (error: unknown) => {
    assert.ok(error instanceof AgentError)
    assert.match(error.message, text)
    assert.equal(error.code, code, error.message)
    return true
  })
}

function assertErrorEvent(
  { eventType, payload }: HeardEvent,
  operation: Operation,
  code: ErrorCode,
  text: RegExp,
): void {
  assert.equal(eventType, `backup.${operation}.error`, JSON.stringify(payload))
  assert.match(String(payload['message']), text)
  assert.equal(payload['code'], code, String(payload['message']))
}

/** An argument that is not what its name says, in an otherwise good request. */
export function plainBackup(record: BackupRecord, fields: JsonObject = {}): JsonObject {
  return { ...record, ...fields } as JsonObject
}

/** A request as bare JSON, as any client would write it. */
export function bareRequest(fields: JsonObject): JsonObject {
  return {
    version: '2.0',
    _unique_id: randomUUID().replaceAll('-', ''),
    _context_request_id: `req-${randomUUID()}`,
    _context_project_id: '0f8e7d6c5b4a39281706f5e4d3c2b1a0',
    ...fields,
  }
}
