import assert from 'node:assert/strict'
import { test } from 'node:test'

import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { memoryBus } from '#src/adapters/rpc/memory-bus.ts'
import { memoryPublisher, memoryRpcServer } from '#src/adapters/rpc/memory-rpc.ts'
import { memoryRpcClient } from '#src/adapters/rpc/memory-rpc-client.ts'
import { osloProperties } from '#src/adapters/rpc/oslo-envelope.ts'
import { testRpc } from '../../contracts/rpc.ts'
import { testRpcClient } from '../../contracts/rpc-client.ts'
import type { BusUnderTest } from '../../support/bus-under-test.ts'
import { eventually } from '../../support/rabbit.ts'

const signal = new AbortController().signal
const names = { topic: 'cinder-backup', controlExchange: 'openstack' }

testRpc('memoryBus', async () => openBus())
testRpcClient('memoryBus', async () => openBus())

function openBus(): BusUnderTest {
  const bus = memoryBus()
  return {
    ...names,
    notificationTopic: 'notifications',
    server: (host, publisher) =>
      memoryRpcServer(
        bus,
        { ...names, host, prefetch: 4, messageBytesMax: 65_536, rpcPingEnabled: false },
        publisher,
        recordingLog(),
      ),
    publisher: ({ drivers = ['messagingv2'] as const, replyRetrySeconds = 60 } = {}) =>
      memoryPublisher(
        bus,
        {
          controlExchange: names.controlExchange,
          publisherId: 'backup.host-1',
          topics: ['notifications'],
          drivers,
          replyRetrySeconds,
        },
        recordingLog(),
      ),
    client: (log) =>
      memoryRpcClient(
        bus,
        { controlExchange: names.controlExchange, messageBytesMax: 65_536 },
        log,
      ),
    send: async (exchange, routingKey, body, properties = {}) => {
      const merged = { ...osloProperties, ...properties }
      await bus.publish(
        { exchange, routingKey, body: Buffer.from(body), properties: merged },
        signal,
      )
    },
    declareQueue: async (queue) => bus.declareQueue(queue),
    next: async (queue) => {
      await eventually(() => bus.count(queue) > 0, `a message in ${queue}`)
      const message = bus.get(queue)
      assert.ok(message)
      return message
    },
  }
}

test('a message sent while the memory bus is down is there when it comes back', async () => {
  const bus = memoryBus()
  bus.declareQueue('queue')
  const body = Buffer.from('{}')
  bus.goDown()

  const publishing = bus.publish(
    { exchange: '', routingKey: 'queue', body, properties: osloProperties },
    signal,
  )
  assert.equal(bus.isUp, false)
  assert.equal(bus.count('queue'), 0)
  bus.comeBack()

  assert.equal(await publishing, true)
  assert.equal(bus.count('queue'), 1)
})
