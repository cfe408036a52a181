import assert from 'node:assert/strict'
import { test } from 'node:test'

import { eventually, plainClient } from '../../support/rabbit.ts'
import { rabbitPeers } from '../../support/rabbit-peers.ts'
import { privateRabbit } from '../../support/rabbit-vhost.ts'

// A real RabbitMQ that waits a second for an acknowledgement, and looks every half a second.

test('a request that is acknowledged too late comes again, and runs once', async (t) => {
  const broker = await privateRabbit(t)
  for (const [name, ms] of [
    ['consumer_timeout', 1000],
    ['channel_tick_interval', 500],
  ]) {
    await broker.ctl('eval', `application:set_env(rabbit, ${name}, ${ms}).`) // For new channels.
  }
  const gate = Promise.withResolvers<{ kind: 'ignored' }>()
  const peers = rabbitPeers(t, {
    transportUrl: broker.transportUrl,
    rabbit: { kombuReconnectDelay: 0.1 },
    handler: () => gate.promise,
  })
  await peers.serve()
  const client = await plainClient(t, broker.amqpUrl)
  const slow = JSON.stringify({ method: 'slow', _unique_id: 'a'.repeat(32) })
  const isTold = () =>
    JSON.stringify(peers.log.lines).includes('delivery acknowledgement on channel')

  client.publish('openstack', 'cinder-backup.host-1', slow)
  assert.equal((await peers.requests.next()).method, 'slow')
  await eventually(isTold, 'the log has the words of the broker')
  gate.resolve({ kind: 'ignored' })

  client.publish('openstack', 'cinder-backup.host-1', JSON.stringify({ method: 'next' }))
  assert.equal((await peers.requests.next()).method, 'next')
  await eventually(
    async () => (await broker.queues()).every(({ messages }) => messages === 0),
    'all is acknowledged',
  )
  assert.equal(peers.requests.count, 0)
})
