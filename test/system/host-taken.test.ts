// One consumer for the requests of one host: whoever else is there is named, and ours does not start.

import assert from 'node:assert/strict'
import process from 'node:process'
import { type TestContext, test } from 'node:test'

import {
  type AgentHome,
  type AgentSettings,
  agentHome,
  spawnAgent,
  startAgent,
} from '../support/agent.ts'
import { osloServer } from '../support/oslo.ts'
import { eventually } from '../support/rabbit.ts'
import { type RabbitVhost, rabbitVhost } from '../support/rabbit-vhost.ts'

/** RabbitMQ misses a silent connection after 2 to 4 s then, and we wait for 9. */
const heartbeat = { heartbeat_timeout_threshold: 2 }

/** Two state folders and one host name: two machines that were given the same. */
async function scene(t: TestContext, settings: AgentSettings = {}) {
  const vhost = await rabbitVhost(t)
  const host = 'storage-1'
  const homeOf = () =>
    agentHome(t, vhost.transportUrl, {
      ...settings,
      DEFAULT: { host },
      oslo_messaging_rabbit: heartbeat,
    })
  return { vhost, first: await homeOf(), second: await homeOf() }
}

async function consumers(vhost: RabbitVhost, { host }: AgentHome): Promise<number> {
  const queues = await vhost.queues()
  return queues.find(({ name }) => name === `cinder-backup.${host}`)?.consumers ?? 0
}

/** As a stock cinder-backup has it: a server of Debian's oslo.messaging. */
async function stockLike(t: TestContext, { transportUrl }: RabbitVhost, { host }: AgentHome) {
  const server = await osloServer({ transportUrl }, 'cinder-backup', host)
  let isOver = false
  const end = async () => {
    if (!isOver) await server[Symbol.asyncDispose]()
    isOver = true
  }
  t.after(end)
  return end
}

test('beside a service of oslo.messaging on its host the agent ends with 11, says so and touches nothing', async (t) => {
  const { vhost, first } = await scene(t)
  await stockLike(t, vhost, first)

  const agent = spawnAgent(t, first)
  await agent.logged(/another consumer takes the requests of this host: waiting/)

  assert.equal(await agent.ended(), 11)
  assert.match(agent.log(), /HOST_TAKEN.*1 other consumer on cinder-backup\.storage-1/)
  assert.match(agent.log(), /rabbitmqctl list_consumers -p test-/)
  assert.equal(await consumers(vhost, first), 1)
})

test('beside another agent too', async (t) => {
  const { first, second } = await scene(t)
  await startAgent(t, first)

  const late = spawnAgent(t, second)

  assert.equal(await late.ended(), 11)
  assert.match(late.log(), /HOST_TAKEN/)
})

test('an agent that waits for the other begins when it goes', async (t) => {
  const { vhost, first } = await scene(t)
  const endStock = await stockLike(t, vhost, first)
  const agent = spawnAgent(t, first)
  await agent.logged(/waiting for it to go/)

  await endStock()

  await agent.logged(/\bserving\b/)
  assert.equal(await agent.end('SIGTERM'), 0)
})

test('an agent that waits stops when it is told to', async (t) => {
  const { vhost, first } = await scene(t)
  await stockLike(t, vhost, first)
  const agent = spawnAgent(t, first)
  await agent.logged(/waiting for it to go/)

  assert.equal(await agent.end('SIGTERM'), 0)
})

test('--take-over starts beside the other and says so', async (t) => {
  const { vhost, first } = await scene(t)
  await stockLike(t, vhost, first)

  const agent = spawnAgent(t, { ...first, serveOptions: ['--take-over'] })

  await agent.logged(/\bserving\b/)
  assert.match(agent.log(), /takes over beside another consumer/)
  assert.equal(await consumers(vhost, first), 2)
})

test('after kill -9 the next start serves, as often as it takes', async (t) => {
  const { first } = await scene(t)
  for (let life = 0; life < 3; life += 1) {
    const agent = await startAgent(t, first)
    await agent.end('SIGKILL')
  }
  await startAgent(t, first)
})

test('the consumer of a machine that fell silent is waited for until RabbitMQ misses it', async (t) => {
  const { vhost, first, second } = await scene(t)
  const silent = await startAgent(t, first)
  process.kill(silent.pid, 'SIGSTOP') // Its socket stays open, as that of a machine without power.

  const heir = spawnAgent(t, second)
  await heir.logged(/waiting for it to go/)

  await heir.logged(/\bserving\b/)
  await eventually(async () => (await consumers(vhost, second)) === 1, 'one consumer is left')
})
