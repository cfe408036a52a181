import { hostname } from 'node:os'

import { AgentError } from '../../domain/errors.ts'
import type { RabbitOptions } from './rabbit-options.ts'

export type ExchangeDeclare = {
  readonly kind: 'exchange'
  readonly name: string
  readonly type: 'topic' | 'fanout'
  readonly durable: boolean
  readonly autoDelete: boolean
}

export type QueueDeclare = {
  readonly kind: 'queue'
  readonly name: string
  readonly durable: boolean
  readonly autoDelete: boolean
  readonly arguments: Readonly<Record<string, string | number>>
}

export type Binding = {
  readonly kind: 'binding'
  readonly queue: string
  readonly exchange: string
  readonly routingKey: string
}

export type Declare = ExchangeDeclare | QueueDeclare | Binding

export type ServerTopology = {
  readonly declares: readonly Declare[]
  readonly topicQueue: string
  readonly serverQueue: string
  readonly fanoutQueue: string
  /** The fanout queue is this process's alone: it is deleted when the server stops. */
  readonly ownsFanoutQueue: boolean
  readonly fanoutIsStream: boolean
}

/**
 * What an RPC server declares, in oslo's order. `fanoutId` is chosen once for the process. Throws
 * CONFIGURATION_INVALID for options that exclude each other.
 * Source: oslo_messaging/_drivers/impl_rabbit.py; recorded frames for each option.
 */
export function serverTopology(
  options: RabbitOptions,
  names: { readonly controlExchange: string; readonly topic: string; readonly host: string },
  fanoutId: string,
): ServerTopology {
  checkOptions(options)
  const { topic } = names
  const exchange = controlExchange(options, names.controlExchange)
  const serverQueue = `${topic}.${names.host}`
  const fanout = fanoutExchange(options, topic)
  const fanoutQueue = fanoutQueueName(options, topic, fanoutId)
  return {
    declares: [
      exchange,
      topicQueueDeclare(options, topic),
      { kind: 'binding', queue: topic, exchange: exchange.name, routingKey: topic },
      exchange,
      topicQueueDeclare(options, serverQueue),
      { kind: 'binding', queue: serverQueue, exchange: exchange.name, routingKey: serverQueue },
      fanout,
      fanoutQueueDeclare(options, fanoutQueue),
      { kind: 'binding', queue: fanoutQueue, exchange: fanout.name, routingKey: topic },
    ],
    topicQueue: topic,
    serverQueue,
    fanoutQueue,
    ownsFanoutQueue: !options.rabbitStreamFanout && !options.useQueueManager,
    fanoutIsStream: options.rabbitStreamFanout,
  }
}

/** The exchange that casts, calls and notifications go through. */
export function controlExchange(options: RabbitOptions, name: string): ExchangeDeclare {
  return {
    kind: 'exchange',
    name,
    type: 'topic',
    durable: options.amqpDurableQueues || options.rabbitQuorumQueue,
    autoDelete: options.amqpAutoDelete,
  }
}

/** The exchange to all who serve a topic; it goes with the last of them. */
export function fanoutExchange(options: RabbitOptions, topic: string): ExchangeDeclare {
  return {
    kind: 'exchange',
    name: `${topic}_fanout`,
    type: 'fanout',
    durable: options.rabbitTransientQuorumQueue,
    autoDelete: true,
  }
}

/**
 * What a notifier declares for one routing key: the queue too, so that nothing is lost while nobody
 * listens.
 */
export function notificationTopology(
  options: RabbitOptions,
  exchangeName: string,
  queue: string,
): readonly Declare[] {
  checkOptions(options)
  return [
    controlExchange(options, exchangeName),
    topicQueueDeclare(options, queue),
    { kind: 'binding', queue, exchange: exchangeName, routingKey: queue },
  ]
}

/**
 * The queue for answers to one client, reached by its name alone. It may go by itself when nobody has
 * consumed from it for a while, and is declared again with the same name.
 */
export function replyTopology(options: RabbitOptions, queue: string): readonly Declare[] {
  checkOptions(options)
  return [transientQueueDeclare(options, queue)]
}

/** The arguments of a consumer. A stream is read from its end: what was before concerns others. */
export function consumeArguments(
  options: RabbitOptions,
  streamOffset: 'last' | number | null,
): Record<string, unknown> {
  return {
    ...(options.enableCancelOnFailover ? { 'x-cancel-on-ha-failover': true } : {}),
    ...(streamOffset === null ? {} : { 'x-stream-offset': streamOffset }),
  }
}

function topicQueueDeclare(options: RabbitOptions, name: string): QueueDeclare {
  return {
    kind: 'queue',
    name,
    durable: options.amqpDurableQueues || options.rabbitQuorumQueue,
    autoDelete: options.amqpAutoDelete,
    arguments: {
      ...haArguments(options),
      ...(options.rabbitQuorumQueue ? quorumArguments(options) : {}),
    },
  }
}

function fanoutQueueDeclare(options: RabbitOptions, name: string): QueueDeclare {
  const seconds = options.rabbitTransientQueuesTtl
  if (options.rabbitStreamFanout) {
    const age = seconds > 0 ? { 'x-max-age': `${seconds}s` } : {}
    const streamArguments = { 'x-queue-type': 'stream', ...age }
    return { kind: 'queue', name, durable: true, autoDelete: false, arguments: streamArguments }
  }
  return transientQueueDeclare(options, name)
}

function transientQueueDeclare(options: RabbitOptions, name: string): QueueDeclare {
  const seconds = options.rabbitTransientQueuesTtl
  return {
    kind: 'queue',
    name,
    durable: options.rabbitTransientQuorumQueue,
    autoDelete: false,
    arguments: {
      ...haArguments(options),
      ...(options.rabbitTransientQuorumQueue ? quorumArguments(options) : {}),
      ...(seconds > 0 ? { 'x-expires': seconds * 1000 } : {}),
    },
  }
}

function fanoutQueueName(options: RabbitOptions, topic: string, fanoutId: string): string {
  if (options.rabbitStreamFanout) return `${topic}_fanout`
  if (options.useQueueManager) {
    return `${topic}_fanout_${options.hostname || hostname()}:${options.processname}:1`
  }
  return `${topic}_fanout_${fanoutId}`
}

function haArguments(options: RabbitOptions): Record<string, string> {
  return options.rabbitHaQueues ? { 'x-ha-policy': 'all' } : {}
}

function quorumArguments(options: RabbitOptions): Record<string, string | number> {
  const limit = options.rabbitQuorumDeliveryLimit
  const length = options.rabbitQuorumMaxMemoryLength
  const bytes = options.rabbitQuorumMaxMemoryBytes
  return {
    'x-queue-type': 'quorum',
    ...(limit > 0 ? { 'x-delivery-limit': limit } : {}),
    ...(length > 0 ? { 'x-max-in-memory-length': length } : {}),
    ...(bytes > 0 ? { 'x-max-in-memory-bytes': bytes } : {}),
  }
}

function checkOptions(options: RabbitOptions): void {
  if (options.rabbitHaQueues && options.rabbitQuorumQueue) {
    throw new AgentError(
      'CONFIGURATION_INVALID',
      'rabbit_ha_queues and rabbit_quorum_queue exclude each other: unset rabbit_ha_queues',
    )
  }
  if (options.rabbitStreamFanout && !options.rabbitTransientQuorumQueue) {
    throw new AgentError(
      'CONFIGURATION_INVALID',
      'rabbit_stream_fanout needs rabbit_transient_quorum_queue = true as well',
    )
  }
  if (options.rabbitStreamFanout && options.rabbitQosPrefetchCount <= 0) {
    // A stream is handed out by credit: the broker refuses a consumer without a limit.
    throw new AgentError(
      'CONFIGURATION_INVALID',
      'rabbit_stream_fanout needs rabbit_qos_prefetch_count of 1 or more as well',
    )
  }
}
