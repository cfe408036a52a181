import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Notification } from '#src/ports/rpc.ts'
import { doorTo } from '../../support/door.ts'
import { wholeFile } from '../../support/driven-agent.ts'
import { eventually, inbox, plainClient } from '../../support/rabbit.ts'
import { rabbitPeers } from '../../support/rabbit-peers.ts'
import { privateRabbit, rabbitVhost } from '../../support/rabbit-vhost.ts'

const forever = new AbortController().signal

function notification(eventType: string): Notification {
  return {
    messageId: randomUUID(),
    uniqueId: randomUUID().replaceAll('-', ''),
    eventType,
    priority: 'INFO',
    payload: {},
    timestamp: '2026-11-23 00:20:54.573429',
    context: {},
  }
}

function eventTypeOf(content: Buffer): string {
  return JSON.parse(JSON.parse(content.toString())['oslo.message'])['event_type']
}

test('a broker that restarts loses no request, no answer and no notification', async (t) => {
  const broker = await privateRabbit(t)
  const done = inbox<string>()
  const peers = rabbitPeers(t, {
    transportUrl: broker.transportUrl,
    rabbit: { amqpDurableQueues: true },
    handler: async ({ method }) => {
      done.put(method)
      return { kind: 'answered', result: method }
    },
  })
  await peers.serve()
  await peers.publisher.notify(notification('before'), forever)
  const before = await plainClient(t, broker.amqpUrl)
  await before.channel.assertQueue('reply_1', { durable: true })
  const call = { args: {}, _msg_id: 'm', _reply_q: 'reply_1' }

  await broker.stop()
  const notified = peers.publisher.notify(notification('meanwhile'), forever)
  const to = { kind: 'oslo', queue: 'reply_1', msgId: 'm', monitorSeconds: null } as const
  const replied = peers.publisher.reply(to, { result: 'meanwhile' }, forever)
  assert.equal(peers.publisher.isReady, false)
  await broker.start()

  await notified
  assert.equal(await replied, true)
  const client = await plainClient(t, broker.amqpUrl)
  client.publish('openstack', 'cinder-backup', JSON.stringify({ method: 'after', ...call }))
  assert.equal(await done.next(), 'after')
  const events = [await client.next('notifications.info'), await client.next('notifications.info')]
  assert.deepEqual(
    events.map(({ content }) => eventTypeOf(content)),
    ['before', 'meanwhile'],
  )
  await client.next('reply_1')
  await client.next('reply_1')
  assert.equal(peers.publisher.isReady, true)
})

test('requests have their queue again at once when the broker is back, however long it was away', async (t) => {
  const vhost = await rabbitVhost(t)
  const url = new URL(vhost.transportUrl)
  const door = await doorTo(t, `http://${url.host}`)
  await door.open()
  url.host = new URL(door.origin).host
  const peers = rabbitPeers(t, { transportUrl: url.href })
  await peers.serve()
  const client = await plainClient(t, vhost.amqpUrl)
  const consumers = async () =>
    (await client.channel.checkQueue('cinder-backup.host-1')).consumerCount
  assert.equal(await consumers(), 1)
  const { session } = peers.server

  await door.shut()
  await eventually(async () => peers.server.session === null, 'the loss is noticed')
  assert.equal(await peers.server.isDrained(), false)
  await sleep(6_000) // By the options' waits of 1, 1, 3 and 5 s it would try again after 10.
  assert.equal(await consumers(), 0)
  const openedMs = performance.now()
  await door.open()

  await eventually(async () => (await consumers()) === 1, 'it is consumed again')
  const seconds = (performance.now() - openedMs) / 1000
  assert.ok(seconds < 2, `after ${seconds} s`)
  await eventually(async () => peers.server.session !== null, 'another session')
  assert.ok(Number(peers.server.session) > Number(session))
  assert.equal(await peers.server.isDrained(), true)
})

test('a blocked broker holds up what is published, not what is taken', async (t) => {
  const broker = await privateRabbit(t)
  const peers = rabbitPeers(t, { transportUrl: broker.transportUrl })
  await peers.serve()
  await peers.publisher.notify(notification('before'), forever)
  const client = await plainClient(t, broker.amqpUrl)
  peers.server.takeShared(false)
  for (const number of [1, 2, 3]) {
    client.publish('openstack', 'cinder-backup', JSON.stringify({ method: `method${number}` }))
  }
  await eventually(async () => (await client.count('cinder-backup')) === 3, 'all wait in the queue')
  let confirmed = false

  await broker.block(true)
  const notified = peers.publisher.notify(notification('blocked'), forever).then(() => {
    confirmed = true
  })
  await eventually(() => !peers.publisher.isReady, 'the publisher knows that it is blocked')
  peers.server.takeShared(true)
  const methods = [1, 2, 3].map(async () => (await peers.requests.next()).method)
  assert.deepEqual(await Promise.all(methods), ['method1', 'method2', 'method3'])
  await eventually(
    async () => (await broker.queues()).every((queue) => queue.messages_unacknowledged === 0),
    'all requests are acknowledged',
  )
  assert.equal(confirmed, false)

  await broker.block(false)
  await notified
  assert.equal(peers.publisher.isReady, true)
})

test('a publisher that starts before its broker is patient', async (t) => {
  const broker = await privateRabbit(t)
  await broker.stop()
  const peers = rabbitPeers(t, { transportUrl: broker.transportUrl })
  const serving = peers.serve()
  const notified = peers.publisher.notify(notification('first'), forever)
  const told = () => peers.log.lines.filter(({ message }) => message.startsWith('no connection'))
  await eventually(() => told().length === 3, 'each connection tells once')

  await broker.start()

  await Promise.all([serving, notified])
  const client = await plainClient(t, broker.amqpUrl)
  assert.equal(eventTypeOf((await client.next('notifications.info')).content), 'first')
  assert.ok(peers.log.lines.length <= 18, JSON.stringify(peers.log.lines))
})

test('a notification queue that was deleted is there again before the next one', async (t) => {
  const vhost = await rabbitVhost(wholeFile)
  const peers = rabbitPeers(t, { transportUrl: vhost.transportUrl })
  await peers.publisher.notify(notification('first'), forever)
  const client = await plainClient(t, vhost.amqpUrl)

  await client.channel.deleteQueue('notifications.info')
  await peers.publisher.notify(notification('second'), forever)

  assert.equal(eventTypeOf((await client.next('notifications.info')).content), 'second')
})

test('notifications go on where connections are cut, each at least once', async (t) => {
  const vhost = await rabbitVhost(wholeFile)
  const peers = rabbitPeers(t, { transportUrl: vhost.transportUrl })
  const sent = Array.from({ length: 200 }, (_, index) => notification(`event-${index}`))
  await peers.publisher.notify(notification('begin'), forever)

  const cutting = vhost.closeConnections()
  await Promise.all(sent.map((one) => peers.publisher.notify(one, forever)))
  await cutting

  const client = await plainClient(t, vhost.amqpUrl)
  const missing = new Set(sent.map(({ eventType }) => eventType))
  while (missing.size > 0) {
    missing.delete(eventTypeOf((await client.next('notifications.info')).content))
  }
})

test('answers to many queues that are gone are bounded, and the next is not delayed', async (t) => {
  const vhost = await rabbitVhost(wholeFile)
  const peers = rabbitPeers(t, { transportUrl: vhost.transportUrl })
  const client = await plainClient(t, vhost.amqpUrl)
  await client.channel.assertQueue('reply_there', { durable: false })
  const to = (queue: string) => ({ kind: 'oslo', queue, msgId: 'm', monitorSeconds: null }) as const
  const stop = new AbortController()
  const outcomes: boolean[] = []

  const gone = Array.from({ length: 300 }, async (_, index) => {
    const answer = { result: index }
    outcomes.push(await peers.publisher.reply(to(`reply_gone_${index}`), answer, stop.signal))
  })
  await eventually(() => outcomes.length === 100, 'those over the bound are dropped')
  assert.equal(await peers.publisher.reply(to('reply_there'), { result: 1 }, forever), true)
  stop.abort()

  const ended = await Promise.allSettled(gone)
  assert.equal(ended.filter(({ status }) => status === 'rejected').length, 200)
  assert.ok(outcomes.every((delivered) => !delivered))
})
