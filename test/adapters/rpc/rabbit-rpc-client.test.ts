import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { type RabbitOptions, rabbitDefaults } from '#src/adapters/rpc/rabbit-options.ts'
import { rabbitRpcClient } from '#src/adapters/rpc/rabbit-rpc-client.ts'
import type { AgentError } from '#src/domain/errors.ts'
import { monotonicMs } from '#src/lib/clock.ts'
import type { RpcClient } from '#src/ports/rpc-client.ts'
import { amqpProxy, throughProxy } from '../../support/amqp-proxy.ts'
import { aContext } from '../../support/builders.ts'
import { eventually, type PlainClient, plainClient } from '../../support/rabbit.ts'
import { privateRabbit, type RabbitVhost, rabbitVhost } from '../../support/rabbit-vhost.ts'

// What becomes of calls when the broker, its connections or its queues go; the test is the service.

const forever = new AbortController().signal
const service = 'cinder-volume.storage1@lvm.storage1'

test('the reply queue comes back under its name and flags, and calls in flight are answered', async (t) => {
  const vhost = await rabbitVhost(t)
  const peer = await servicePeer(t, vhost)
  const client = clientOf(t, vhost.transportUrl)
  const first = callTo(client)
  const { _reply_q: queue } = await peer.next()
  const before = await replyQueues(vhost)

  await peer.channel.deleteQueue(String(queue))
  await eventually(async () => (await replyQueues(vhost)).length === 1, 'it is declared again')
  peer.answer('after the deletion')
  const afterDeletion = await first
  const second = callTo(client)
  await peer.next()
  await vhost.closeConnections()
  const again = await servicePeer(t, vhost)
  await eventually(async () => (await replyQueues(vhost))[0]?.consumers === 1, 'it is consumed')
  again.answer('after the cut', peer.last())

  assert.deepEqual([afterDeletion, await second], ['after the deletion', 'after the cut'])
  const described = before.map(({ name, durable, arguments: flags }) => ({ name, durable, flags }))
  assert.deepEqual(described, [{ name: queue, durable: false, flags: { 'x-expires': 1_800_000 } }])
  const after = await replyQueues(vhost)
  assert.deepEqual(
    after.map(({ name, durable, arguments: flags }) => ({ name, durable, flags })),
    described,
  )
})

test('a call waits for a broker that is away, and goes on over its restart', async (t) => {
  const broker = await privateRabbit(t)
  await broker.stop()
  const client = clientOf(t, broker.transportUrl, {
    rabbitRetryInterval: 0.1,
    rabbitRetryBackoff: 0,
  })
  const startMs = monotonicMs()

  await assert.rejects(callTo(client, 700), {
    code: 'BROKER_UNAVAILABLE',
    message:
      /^initialize_connection of cinder-volume\.storage1@lvm\.storage1 could not be sent in 0\.7 s: cannot connect to /,
  })
  assert.ok(monotonicMs() - startMs < 10_000)
  const patient = callTo(client)
  await broker.start()
  const peer = await servicePeer(t, broker)
  const { _timeout } = await peer.next()
  peer.answer('at last')

  assert.equal(await patient, 'at last')
  assert.equal(_timeout, null)

  const calling = callTo(client)
  await peer.next()
  await broker.restart() // The reply queue, which is not durable, goes with it.
  const again = await servicePeer(t, broker)
  await eventually(async () => (await replyQueues(broker))[0]?.consumers === 1, 'the queue is back')
  again.answer('after the restart', peer.last())

  assert.equal(await calling, 'after the restart')
})

test('a call that was not answered says whether its connection was lost meanwhile', async (t) => {
  const vhost = await rabbitVhost(t)
  const peer = await servicePeer(t, vhost)
  const client = clientOf(t, vhost.transportUrl)
  const waiting = callTo(client, 2000).catch((error: unknown) => error)
  await peer.next()
  const slow = await waiting
  const calling = callTo(client, 10_000).catch((error: unknown) => error)
  await peer.next()
  await vhost.closeConnections()
  const lost = await calling

  const told = [slow, lost].map((error) => (error as AgentError).context['broker_lost'])
  assert.deepEqual(told, [false, true])
  assert.deepEqual(
    [slow, lost].map((error) => (error as AgentError).code),
    ['CALL_TIMED_OUT', 'CALL_TIMED_OUT'],
  )
})

test('a call whose confirm was lost is sent again, the same bytes, and answered once', async (t) => {
  const vhost = await rabbitVhost(t)
  const peer = await servicePeer(t, vhost)
  const proxy = await amqpProxy(t)
  proxy.breaksAtConfirm = 1
  const calling = callTo(clientOf(t, throughProxy(vhost.transportUrl, proxy)))

  const { content: first, properties } = await peer.nextDelivery()
  const { content: copy, properties: same } = await peer.nextDelivery()
  peer.answer('once')
  peer.answer('twice')

  assert.deepEqual([copy, same], [first, properties])
  assert.equal(proxy.breaksAtConfirm, 0)
  assert.equal(await calling, 'once')
})

test('with quorum options the reply queue is one, and answers come', async (t) => {
  const vhost = await rabbitVhost(t)
  const rabbit = { rabbitTransientQuorumQueue: true, useQueueManager: true }
  const peer = await servicePeer(t, vhost)
  const calling = callTo(clientOf(t, vhost.transportUrl, rabbit))
  const { _reply_q: queue } = await peer.next()
  const [listed] = await replyQueues(vhost)
  peer.answer(true)

  assert.equal(await calling, true)
  assert.equal(listed?.type, 'quorum')
  assert.match(String(queue), /^reply_[0-9a-f]{32}$/) // Nobody else's, whatever the queue manager says.
})

test('a client that called nobody has no connection, and one that closes leaves no queue', async (t) => {
  const vhost = await rabbitVhost(t)
  const connections = async () => {
    const listed = await vhost.ctl('list_connections', '--formatter', 'json', 'vhost')
    return (JSON.parse(listed) as { readonly vhost: string }[]).filter(
      (one) => one.vhost === vhost.name,
    ).length
  }
  const log = recordingLog()
  const client = rabbitRpcClient(optionsFor(vhost.transportUrl), log)
  assert.equal(await connections(), 0)
  const peer = await servicePeer(t, vhost)
  const calling = callTo(client)
  await peer.next()
  peer.answer(1)
  assert.equal(await calling, 1)
  assert.equal(await connections(), 3)

  await client[Symbol.asyncDispose]()

  assert.deepEqual(await replyQueues(vhost), [])
  await eventually(async () => (await connections()) === 1, 'its connections are closed')
  assert.deepEqual(
    log.lines.filter(({ level }) => level === 'warn'),
    [],
  )
})

function optionsFor(transportUrl: string, rabbit: Partial<RabbitOptions> = {}) {
  return {
    transportUrl,
    rabbit: { ...rabbitDefaults, ...rabbit },
    controlExchange: 'openstack',
    declare: 'adopt',
    messageBytesMax: 65_536,
  } as const
}

function clientOf(
  t: TestContext,
  transportUrl: string,
  rabbit: Partial<RabbitOptions> = {},
): RpcClient {
  const client = rabbitRpcClient(optionsFor(transportUrl, rabbit), recordingLog())
  t.after(() => client[Symbol.asyncDispose]())
  return client
}

function callTo(client: RpcClient, timeoutMs = 300_000) {
  const call = {
    method: 'initialize_connection',
    version: '3.0',
    namespace: null,
    args: { connector: { host: 'backup-host-1' } },
    context: aContext(),
  }
  const target = { topic: 'cinder-volume.storage1@lvm', server: 'storage1' }
  return client.call(target, call, { timeoutMs, monitorMs: null }, forever)
}

async function replyQueues(vhost: RabbitVhost) {
  return (await vhost.queues()).filter(({ name }) => name.startsWith('reply_'))
}

type Asked = { readonly _msg_id?: string; readonly _reply_q?: string; readonly _timeout?: unknown }

/** A service that takes what is sent to it and answers when the test says so. */
async function servicePeer(t: TestContext, { amqpUrl }: RabbitVhost) {
  const client: PlainClient = await plainClient(t, amqpUrl)
  await client.channel.assertExchange('openstack', 'topic', { durable: false })
  await client.channel.assertQueue(service, { durable: false })
  await client.channel.bindQueue(service, 'openstack', service)
  let asked: Asked = {}
  const nextDelivery = async () => {
    const delivery = await client.next(service)
    asked = JSON.parse(JSON.parse(delivery.content.toString())['oslo.message'])
    return delivery
  }
  return {
    channel: client.channel,
    nextDelivery,
    next: async (): Promise<Asked> => {
      await nextDelivery()
      return asked
    },
    /** What was asked last. */
    last: () => asked,
    answer: (result: unknown, to: Asked = asked) => {
      const message = { result, failure: null, ending: true, _msg_id: to._msg_id }
      client.publish('', String(to._reply_q), JSON.stringify(message))
    },
  }
}
