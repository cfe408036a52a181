import assert from 'node:assert/strict'
import { test } from 'node:test'

import { amqpProxy, throughProxy } from '../../support/amqp-proxy.ts'
import { anEvent } from '../../support/builders.ts'
import { plainClient } from '../../support/rabbit.ts'
import { rabbitPeers } from '../../support/rabbit-peers.ts'
import { rabbitVhost } from '../../support/rabbit-vhost.ts'

// What declares closes its channel at the end. Where the connection breaks just then, amqplib never
// says that the channel is closed.

const quick = { rabbitRetryInterval: 0.2, kombuReconnectDelay: 0.1 }

test('a connection that breaks at the end of a declare holds no notification up', async (t) => {
  const vhost = await rabbitVhost(t)
  const proxy = await amqpProxy(t)
  const transportUrl = throughProxy(vhost.transportUrl, proxy)
  const { publisher } = rabbitPeers(t, { transportUrl, rabbit: quick })
  const soon = AbortSignal.timeout(20_000)
  await publisher.notify(anEvent('backup.create.start'), soon) // It is connected.
  const client = await plainClient(t, vhost.amqpUrl)
  await client.next('notifications.info')

  await client.channel.deleteQueue('notifications.info') // So that it is declared again.
  proxy.breaksAtChannelClose = 1
  await publisher.notify(anEvent('backup.create.end'), soon)

  assert.equal(proxy.breaksAtChannelClose, 0)
  assert.equal(await client.count('notifications.info'), 1)
})

test('a connection that breaks while it is prepared is opened again at once', async (t) => {
  const vhost = await rabbitVhost(t)
  const proxy = await amqpProxy(t)
  proxy.breaksAtChannelClose = 3
  const transportUrl = throughProxy(vhost.transportUrl, proxy)
  const { publisher } = rabbitPeers(t, { transportUrl, rabbit: quick })

  await publisher.notify(anEvent('backup.create.start'), AbortSignal.timeout(20_000))

  assert.equal(proxy.breaksAtChannelClose, 0)
})
