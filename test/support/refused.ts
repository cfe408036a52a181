import assert from 'node:assert/strict'

import type { HeardEvent } from '#src/adapters/rpc/rabbit-scheduler.ts'
import type { DrivenAgent } from './driven-agent.ts'
import { noise } from './volume-data.ts'

/** Asks for a backup that must fail; resolves to its error event. */
export async function failedBackup(agent: DrivenAgent): Promise<HeardEvent> {
  const asked = agent.asked(await agent.newVolume(noise('refused', 5000)))
  const event = await agent.scheduler.run('create', asked)
  assert.equal(event.eventType, 'backup.create.error')
  assert.equal(event.payload['status'], 'error')
  return event
}

/** A secret is neither on the bus nor in the log. */
export function assertSecret(secret: string, { agent, scheduler }: DrivenAgent): void {
  assert.ok(!JSON.stringify(scheduler.events).includes(secret), 'it is in an event')
  assert.ok(!agent.log().includes(secret), 'it is in the log')
}
