import type { TestContext } from 'node:test'

import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { rabbitDefaults } from '#src/adapters/rpc/rabbit-options.ts'
import { rabbitPublisher } from '#src/adapters/rpc/rabbit-publisher.ts'
import { rabbitRpcClient } from '#src/adapters/rpc/rabbit-rpc-client.ts'
import { connectRabbitServer } from '#src/adapters/rpc/rabbit-rpc-server.ts'
import { testRpc } from '../../contracts/rpc.ts'
import { testRpcClient } from '../../contracts/rpc-client.ts'
import type { BusUnderTest } from '../../support/bus-under-test.ts'
import { wholeFile } from '../../support/driven-agent.ts'
import { plainClient, uniqueName } from '../../support/rabbit.ts'
import { rabbitVhost } from '../../support/rabbit-vhost.ts'

const vhost = await rabbitVhost(wholeFile)

testRpc('rabbit', openBus)
testRpcClient('rabbit', openBus)

async function openBus(t: TestContext): Promise<BusUnderTest> {
  const client = await plainClient(t, vhost.amqpUrl)
  const topic = uniqueName('cinder-backup')
  const controlExchange = uniqueName('openstack')
  const notificationTopic = uniqueName('notifications')
  const url = vhost.transportUrl
  return {
    topic,
    controlExchange,
    notificationTopic,
    server: (host, publisher) =>
      connectRabbitServer(
        {
          transportUrl: url,
          rabbit: rabbitDefaults,
          controlExchange,
          topic,
          host,
          prefetch: 4,
          declare: 'strict',
          messageBytesMax: 65_536,
          rpcPingEnabled: false,
        },
        publisher,
        recordingLog(),
      ),
    publisher: ({ drivers = ['messagingv2'] as const, replyRetrySeconds = 60 } = {}) =>
      rabbitPublisher(
        {
          transportUrl: `${url}?kombu_missing_consumer_retry_timeout=${replyRetrySeconds}`,
          rabbit: rabbitDefaults,
          controlExchange,
          host: 'host-1',
          declare: 'strict',
          notifications: { transportUrl: null, topics: [notificationTopic], drivers },
        },
        recordingLog(),
      ),
    client: (log) =>
      rabbitRpcClient(
        {
          transportUrl: url,
          rabbit: rabbitDefaults,
          controlExchange,
          declare: 'strict',
          messageBytesMax: 65_536,
        },
        log,
      ),
    send: async (exchange, routingKey, body, properties) =>
      client.publish(exchange, routingKey, body, properties),
    declareQueue: async (queue) => {
      await client.channel.assertQueue(queue, { durable: false })
    },
    next: async (queue) => {
      const { content, properties } = await client.next(queue)
      return { body: content, properties }
    },
  }
}
