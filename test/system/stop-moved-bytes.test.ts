// What passes between agent and Swift when an agent is stopped again and again: each byte once, and what
// was under way at the stops.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { Operation } from '#src/domain/job.ts'
import type { JsonObject } from '#src/domain/json.ts'
import { type AgentProcess, startAgent } from '../support/agent.ts'
import { meteredWay } from '../support/byte-meter.ts'
import { type DrivenAgent, drivenAgent } from '../support/driven-agent.ts'
import { keystoneToken } from '../support/keystone.ts'
import { services } from '../support/services.ts'
import { times } from '../support/soak.ts'
import { swiftContainer } from '../support/stores.ts'
import { contextOf, swiftSettings } from '../support/swift-agent.ts'
import { noise, sha256 } from '../support/volume-data.ts'
import { randomOf, testSeed } from '../support/volume-files.ts'

const kibibyte = 1024
const chunkBytes = 256 * kibibyte
const source = noise('moved bytes', 64 * chunkBytes)
const uploadsMax = 4
const stops = times(2, 20)

/** Requests, answers, listings and documents of one start. */
const talkBytes = 256 * kibibyte

async function stoppedOften(
  t: TestContext,
  { home, scheduler }: DrivenAgent,
  first: AgentProcess,
  random: () => number,
  ask: { operation: Operation; record: BackupRecord; extra?: JsonObject },
): Promise<AgentProcess> {
  const { operation, record, extra } = ask
  let agent = first
  let inWork = 0
  await scheduler.ask(operation, record, extra)
  for (let stop = 0; stop < stops; stop += 1) {
    await agent.logged(new RegExp(`${operation} (started|ended)|\\bserving\\b`))
    await sleep(100 + random() * 400)
    assert.equal(await agent.end('SIGTERM'), 0)
    if (/left for the next start/.test(agent.log())) inWork += 1
    agent = await startAgent(t, home)
  }
  const { eventType, payload } = await scheduler.ended(operation, record.id)
  assert.equal(eventType, `backup.${operation}.end`, String(payload['message']))
  assert.ok(inWork > 0, 'no stop came in mid-work')
  return agent
}

test('SIGTERM in mid-backup and mid-restore costs what was under way, and nothing more', async (t) => {
  const random = randomOf(testSeed(t))
  const way = await meteredWay(t, services().swift.url)
  const user = await keystoneToken('demo')
  const container = await swiftContainer(t, async () => ({ url: user.swiftUrl, token: user.token }))
  const options = {
    backup_swift_url: `${way.origin}/v1/AUTH_`,
    backup_swift_container: container.name,
    backup_compression_algorithm: 'none',
  }
  const paced = { cinder_backup_agent: { requests_max: 30, uploads_max: uploadsMax } }
  const driven = await drivenAgent(t, swiftSettings(options, paced), contextOf(user))
  const mostBytes = source.length + stops * (uploadsMax * chunkBytes + talkBytes) + talkBytes

  const asked = driven.asked(await driven.newVolume(source))
  const ask = { operation: 'create', record: asked } as const
  const agent = await stoppedOften(t, driven, driven.agent, random, ask)
  const upBytes = way.up.total
  assert.ok(upBytes >= source.length && upBytes <= mostBytes, `${upBytes} bytes went up`)

  const record = driven.scheduler.recordOf(asked.id)
  const targetId = await driven.newVolume(Buffer.alloc(source.length, 1))
  way.down.reset()
  const extra = { volume_id: targetId }
  await stoppedOften(t, driven, agent, random, { operation: 'restore', record, extra })
  const downBytes = way.down.total
  assert.ok(downBytes >= source.length && downBytes <= mostBytes, `${downBytes} bytes came down`)
  assert.equal(sha256(await driven.readVolume(targetId)), sha256(source))
  t.diagnostic(
    `${stops} stops each: ${upBytes} up and ${downBytes} down for ${source.length} stored; ` +
      `at most ${mostBytes} each`,
  )
})
