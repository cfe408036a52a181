import assert from 'node:assert/strict'
import { test } from 'node:test'

import { type RabbitOptions, rabbitDefaults } from '#src/adapters/rpc/rabbit-options.ts'
import {
  consumeArguments,
  type Declare,
  notificationTopology,
  replyTopology,
  serverTopology,
} from '#src/adapters/rpc/topology.ts'
import type { JsonObject } from '#src/domain/json.ts'
import { type FrameSample, frameSample, frameSampleNames } from '../../support/wire-samples.ts'

const names = { controlExchange: 'openstack', topic: 'cinder-backup', host: 'backup-host-1' }
const fanoutId = 'f'.repeat(32)

const variants: readonly [string, Partial<RabbitOptions>][] = [
  ['ops-server-start-default', {}],
  ['topology-durable', { amqpDurableQueues: true, rabbitQosPrefetchCount: 8 }],
  ['topology-autodel', { amqpAutoDelete: true }],
  ['topology-ha', { rabbitHaQueues: true }],
  ['topology-quorum14', { rabbitQuorumQueue: true, rabbitQuorumDeliveryLimit: 7 }],
  ['topology-quorum', { rabbitQuorumQueue: true, rabbitTransientQuorumQueue: true }],
  [
    'topology-stream',
    {
      rabbitQuorumQueue: true,
      rabbitTransientQuorumQueue: true,
      rabbitStreamFanout: true,
      rabbitQosPrefetchCount: 4,
      useQueueManager: true,
      hostname: 'backup-host-1',
      processname: 'cinder-backup',
    },
  ],
]

test('every recorded topology is compared', () => {
  const compared = variants.map(([name]) => name).filter((name) => name.startsWith('topology-'))

  assert.deepEqual(compared.toSorted(), frameSampleNames('topology-'))
})

for (const [name, options] of variants) {
  const rabbit = { ...rabbitDefaults, ...options }
  const sample = frameSample(name)
  const [first] = sample.frames

  test(`an RPC server declares what ${name} recorded`, () => {
    const topology = serverTopology(rabbit, names, fanoutId)

    assert.deepEqual(topology.declares, declaresOf(sample, first?.conn))
    const consumed = sample.frames
      .filter(({ conn, method }) => conn === first?.conn && method === 'basic.consume')
      .map(({ args }) => [fixedId(String(args['queue'])), args['arguments']])
    const { topicQueue, serverQueue, fanoutQueue, fanoutIsStream } = topology
    assert.deepEqual(consumed, [
      [topicQueue, consumeArguments(rabbit, null)],
      [serverQueue, consumeArguments(rabbit, null)],
      [fanoutQueue, consumeArguments(rabbit, fanoutIsStream ? 'last' : null)],
    ])
    const deletes = sample.frames.some(({ method }) => method === 'queue.delete')
    if (name !== 'ops-server-start-default') assert.equal(topology.ownsFanoutQueue, deletes)
  })

  if (name === 'ops-server-start-default') continue
  test(`a notifier declares what ${name} recorded`, () => {
    const notifier = sample.frames.find(({ args }) => args['queue'] === 'notifications.info')

    const declares = notificationTopology(rabbit, 'openstack', 'notifications.info')

    // oslo declares the exchange a second time before it publishes.
    assert.deepEqual(declares, declaresOf(sample, notifier?.conn).slice(0, 3))
  })

  test(`a client declares the reply queue that ${name} recorded`, () => {
    const ofReplies = ({ args }: { readonly args: JsonObject }) =>
      String(args['queue']).startsWith('reply_')
    const client = sample.frames.find(ofReplies)
    const [queue, ...others] = declaresOf(sample, client?.conn)
    assert.ok(queue?.kind === 'queue')

    assert.deepEqual(replyTopology(rabbit, queue.name), [queue])
    assert.deepEqual(others, [])
    const consume = sample.frames.findLast(ofReplies)
    assert.deepEqual(consumeArguments(rabbit, null), consume?.args['arguments'])
  })
}

test('a time to live of zero declares no x-expires, and no x-max-age of a stream', () => {
  const rabbit = { ...rabbitDefaults, rabbitTransientQueuesTtl: 0 }

  const { declares, fanoutQueue } = serverTopology(rabbit, names, fanoutId)

  const queue = declares.find((item) => item.kind === 'queue' && item.name === fanoutQueue)
  assert.deepEqual(queue?.kind === 'queue' && queue.arguments, {})
  const stream = {
    ...rabbit,
    rabbitTransientQuorumQueue: true,
    rabbitStreamFanout: true,
    rabbitQosPrefetchCount: 1,
  }
  assert.deepEqual(argumentsOf('cinder-backup_fanout', stream), { 'x-queue-type': 'stream' })
})

test('limits of quorum queues are those of transient ones too', () => {
  const limits = {
    rabbitQuorumDeliveryLimit: 7,
    rabbitQuorumMaxMemoryLength: 5,
    rabbitQuorumMaxMemoryBytes: 6,
  }
  const rabbit = { ...rabbitDefaults, rabbitTransientQuorumQueue: true, ...limits }

  assert.deepEqual(argumentsOf(`cinder-backup_fanout_${fanoutId}`, rabbit), {
    'x-queue-type': 'quorum',
    'x-delivery-limit': 7,
    'x-max-in-memory-length': 5,
    'x-max-in-memory-bytes': 6,
    'x-expires': 1_800_000,
  })
  assert.deepEqual(argumentsOf('cinder-backup', rabbit), {}) // Only with rabbit_quorum_queue.
})

test('a managed fanout queue is named after host and process, and kept at the end', () => {
  const rabbit = {
    ...rabbitDefaults,
    useQueueManager: true,
    hostname: 'node-1',
    processname: 'cinder-backup',
  }

  const { fanoutQueue, ownsFanoutQueue } = serverTopology(rabbit, names, fanoutId)

  assert.equal(fanoutQueue, 'cinder-backup_fanout_node-1:cinder-backup:1')
  assert.equal(ownsFanoutQueue, false)
})

test('memory limits of quorum queues are declared', () => {
  const rabbit = {
    ...rabbitDefaults,
    rabbitQuorumQueue: true,
    rabbitQuorumMaxMemoryLength: 5,
    rabbitQuorumMaxMemoryBytes: 6,
  }

  const [, queue] = serverTopology(rabbit, names, fanoutId).declares

  assert.deepEqual(queue?.kind === 'queue' && queue.arguments, {
    'x-queue-type': 'quorum',
    'x-max-in-memory-length': 5,
    'x-max-in-memory-bytes': 6,
  })
})

test('cancel on failover is asked of every consumer', () => {
  const rabbit = { ...rabbitDefaults, enableCancelOnFailover: true }

  assert.deepEqual(consumeArguments(rabbit, null), { 'x-cancel-on-ha-failover': true })
})

for (const [what, options] of [
  ['mirrored and quorum queues', { rabbitHaQueues: true, rabbitQuorumQueue: true }],
  [
    'a stream without transient quorum queues',
    { rabbitStreamFanout: true, rabbitQosPrefetchCount: 4 },
  ],
  [
    'a stream without a prefetch count',
    { rabbitStreamFanout: true, rabbitTransientQuorumQueue: true },
  ],
] as const) {
  test(`${what}: refused`, () => {
    assert.throws(() => serverTopology({ ...rabbitDefaults, ...options }, names, fanoutId), {
      code: 'CONFIGURATION_INVALID',
    })
  })
}

function argumentsOf(queue: string, rabbit: RabbitOptions): object | undefined {
  const { declares } = serverTopology(rabbit, names, fanoutId)
  const found = declares.find((item) => item.kind === 'queue' && item.name === queue)
  return found?.kind === 'queue' ? found.arguments : undefined
}

/** The recorded declares of one connection, in our form. */
function declaresOf({ frames }: FrameSample, connection: number | undefined): Declare[] {
  return frames
    .filter(({ conn, dir }) => conn === connection && dir === 'client->broker')
    .flatMap(({ method, args }): Declare[] => {
      if (method === 'exchange.declare') {
        const { exchange, type, durable, auto_delete } = args
        return [
          {
            kind: 'exchange',
            name: String(exchange),
            type: type === 'fanout' ? 'fanout' : 'topic',
            durable: durable === true,
            autoDelete: auto_delete === true,
          },
        ]
      }
      if (method === 'queue.declare') {
        const { queue, durable, auto_delete, arguments: given } = args
        return [
          {
            kind: 'queue',
            name: fixedId(String(queue)),
            durable: durable === true,
            autoDelete: auto_delete === true,
            arguments: given as Record<string, string | number>,
          },
        ]
      }
      if (method !== 'queue.bind') return []
      const { queue, exchange, routing_key } = args
      return [
        {
          kind: 'binding',
          queue: fixedId(String(queue)),
          exchange: String(exchange),
          routingKey: String(routing_key),
        },
      ]
    })
}

function fixedId(queue: string): string {
  return queue.replace(/_[0-9a-f]{32}$/, `_${fanoutId}`)
}
