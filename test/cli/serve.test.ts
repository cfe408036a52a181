import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import path from 'node:path'
import { test } from 'node:test'

import { monotonicMs } from '#src/lib/clock.ts'
import { agentHome, spawnAgent } from '../support/agent.ts'
import { plainClient } from '../support/rabbit.ts'
import { rabbitVhost } from '../support/rabbit-vhost.ts'

test('a stop that hangs on something that does not answer is over within 10 s', async (t) => {
  const vhost = await rabbitVhost(t)
  const client = await plainClient(t, vhost.amqpUrl)
  const home = await agentHome(t, vhost.transportUrl)
  // To open a pipe that nobody reads holds a thread for ever, as a disk that is gone does.
  const pipe = path.join(home.folder, 'log')
  execFileSync('mkfifo', [pipe])
  const agent = spawnAgent(t, home, { CBA_DEFAULT_LOG_FILE: pipe })
  while (!(await client.exists(`cinder-backup.${home.host}`))) {
    assert.equal(agent.exitCode, null, agent.log())
  }

  const startMs = monotonicMs()
  await agent.end('SIGTERM')

  const ms = Math.round(monotonicMs() - startMs)
  assert.ok(ms < 10_000, `it took ${ms} ms`)
  t.diagnostic(`ended after ${ms} ms`)
})
