// What the agent has resident does not grow with the requests that wait for it.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { monotonicMs } from '#src/lib/clock.ts'
import { startAgent } from '../support/agent.ts'
import { drivenAgent } from '../support/driven-agent.ts'
import { peakRssMib } from '../support/memory.ts'
import { eventually } from '../support/rabbit.ts'
import { runsOf } from '../support/runs.ts'
import { times } from '../support/soak.ts'
import { steadyPeer } from '../support/steady-peer.ts'
import { noise } from '../support/volume-data.ts'

/** Far below what a large volume may take: see sizes-memory.test.ts. */
const residentMibMax = 200

test('a flood of queued requests is served from flat memory', async (t) => {
  const agent = await drivenAgent(t, { cinder_backup_agent: { jobs_max: 2 } })
  const peer = await steadyPeer(t, agent.vhost.amqpUrl)
  const volumeId = await agent.newVolume(noise('flood', 4096))
  assert.equal(await agent.agent.end('SIGTERM'), 0)
  const requests = times(2000, 8000)
  for (let count = 0; count < requests; count += 1) {
    // Refusals, and jobs that end at once; the queue has them all before the agent is there.
    const isJob = count % 10 === 0
    const record = agent.asked(volumeId, { status: isJob ? 'creating' : 'error' })
    await peer.cast(isJob ? 'delete' : 'create', record)
  }

  const startMs = monotonicMs()
  const started = await startAgent(t, agent.home)
  await eventually(
    () => peer.heard.length >= requests * 1.1,
    'an event of each refusal, two of each delete',
    times(120_000, 500_000),
  )
  const seconds = (monotonicMs() - startMs) / 1000
  const mib = await peakRssMib(started.pid)
  const runs = runsOf(peer.heard)
  assert.equal(runs.length, requests)
  assert.ok(mib <= residentMibMax, `${mib} MiB resident`)
  t.diagnostic(
    `${requests} requests in ${seconds.toFixed(1)} s, ${Math.round(requests / seconds)} a ` +
      `second, ${mib} MiB resident at most`,
  )
})

test('requests to the host alone, all accepted at once, are kept in the journal, not in memory', async (t) => {
  const agent = await drivenAgent(t, { cinder_backup_agent: { jobs_max: 1, requests_max: 1 } })
  const peer = await steadyPeer(t, agent.vhost.amqpUrl)
  const volumeId = await agent.newVolume(noise('host flood', 400_000))
  const before = await peakRssMib(agent.agent.pid)
  const requests = times(500, 5000)
  for (let count = 0; count < requests; count += 1) {
    await peer.cast('create', agent.asked(volumeId), {}, agent.home.host)
  }
  const accepted = () => agent.agent.log().split('request accepted').length - 1
  await eventually(() => accepted() >= requests, 'all are accepted', times(60_000, 300_000))
  const mib = await peakRssMib(agent.agent.pid)
  assert.ok(mib <= residentMibMax, `${mib} MiB resident`)
  const { ms, code } = await stopTime(agent.agent.end('SIGTERM'))
  assert.equal(code, 0)
  assert.ok(ms < 10_000)
  t.diagnostic(`${requests} jobs in hand: ${before} MiB before, ${mib} after; stopped in ${ms} ms`)
})

async function stopTime(
  ending: Promise<number | null>,
): Promise<{ ms: number; code: number | null }> {
  const startMs = monotonicMs()
  const code = await ending
  return { ms: Math.round(monotonicMs() - startMs), code }
}
