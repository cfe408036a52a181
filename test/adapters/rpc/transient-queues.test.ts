import assert from 'node:assert/strict'
import { test } from 'node:test'

import { amqpProxy, throughProxy } from '../../support/amqp-proxy.ts'
import { anEvent } from '../../support/builders.ts'
import { wholeFile } from '../../support/driven-agent.ts'
import { eventually, plainClient } from '../../support/rabbit.ts'
import { rabbitPeers } from '../../support/rabbit-peers.ts'
import { rabbitVhost } from '../../support/rabbit-vhost.ts'

// RabbitMQ 4.3 refuses oslo's default queues: it closes the connection with 541.

const advice =
  'the broker refuses queues that are neither durable nor exclusive: set ' +
  'rabbit_transient_quorum_queue = true and rabbit_quorum_queue (or amqp_durable_queues) = true in ' +
  '[oslo_messaging_rabbit] of every service, or permit them for now by ' +
  'deprecated_features.permit.transient_nonexcl_queues = true in rabbitmq.conf'

test('a broker that permits no transient queues stops the start, with what helps', async (t) => {
  const vhost = await rabbitVhost(wholeFile)
  const proxy = await amqpProxy(t)
  proxy.transientQueues = 'refused'
  const peers = rabbitPeers(t, { transportUrl: throughProxy(vhost.transportUrl, proxy) })

  await assert.rejects(peers.serve(), { code: 'BROKER_REFUSED', message: advice })
})

test('quorum queues throughout are what such a broker takes', async (t) => {
  const vhost = await rabbitVhost(wholeFile)
  const proxy = await amqpProxy(t)
  proxy.transientQueues = 'refused'
  const rabbit = { rabbitQuorumQueue: true, rabbitTransientQuorumQueue: true }
  const transportUrl = throughProxy(vhost.transportUrl, proxy)
  const peers = rabbitPeers(t, { transportUrl, rabbit })

  await peers.serve()

  const client = await plainClient(t, vhost.amqpUrl)
  client.publish('cinder-backup_fanout', '', JSON.stringify({ method: 'a' }))
  assert.equal((await peers.requests.next()).method, 'a')
})

test('a broker that begins to refuse them is told of, and served again once it permits', async (t) => {
  const vhost = await rabbitVhost(wholeFile)
  const proxy = await amqpProxy(t)
  const peers = rabbitPeers(t, {
    transportUrl: throughProxy(vhost.transportUrl, proxy),
    rabbit: { rabbitRetryInterval: 0.2, kombuReconnectDelay: 0.1 },
  })
  await peers.serve()

  proxy.transientQueues = 'refused'
  await vhost.closeConnections()
  const told = () => peers.log.lines.filter(({ fields }) => JSON.stringify(fields).includes(advice))
  await eventually(() => told().length > 0, 'it is told')
  const refusedNotification = peers.publisher.notify(
    anEvent('backup.create.start'),
    AbortSignal.timeout(60_000),
  )
  await eventually(
    () => told().some(({ fields }) => fields['role'] === 'notify'),
    'the publisher tells it too',
  )
  proxy.transientQueues = 'permitted'
  await refusedNotification

  const client = await plainClient(t, vhost.amqpUrl)
  await eventually(
    async () => (await client.channel.checkQueue('cinder-backup.host-1')).consumerCount === 1,
    'it is consumed again',
  )
})
