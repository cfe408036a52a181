import { randomUUID } from 'node:crypto'

import { AgentError } from '../../domain/errors.ts'
import { atMost } from '../../lib/aborted.ts'
import type { Log } from '../../ports/log.ts'
import type { Publisher, RequestSource, RpcServer } from '../../ports/rpc.ts'
import { free, settleClaim } from './host-queue.ts'
import type { MemoryBus } from './memory-bus.ts'
import { type OsloPublisherOptions, osloPublisher, type PublishLink } from './oslo-publisher.ts'
import { type Intake, type IntakeOptions, requestIntake } from './request-intake.ts'
import { wantedSources } from './wanted-sources.ts'

export type MemoryServerOptions = IntakeOptions & {
  readonly controlExchange: string
  readonly topic: string
  readonly host: string
  readonly prefetch: number
}

const answersMsMax = 2_000

/** An RPC server on a bus in memory: what the one on RabbitMQ does, without a wire. */
export function memoryRpcServer(
  bus: MemoryBus,
  options: MemoryServerOptions,
  publisher: Publisher,
  log: Log,
): RpcServer {
  const { controlExchange, topic, host, prefetch } = options
  const ending = new AbortController()
  const subscriptions = [
    { source: 'topic', queue: topic, exchange: controlExchange, prefetch: 1 },
    { source: 'server', queue: `${topic}.${host}`, exchange: controlExchange, prefetch },
    {
      source: 'fanout',
      queue: `${topic}_fanout_${randomUUID().replaceAll('-', '')}`,
      exchange: `${topic}_fanout`,
      prefetch,
    },
  ] as const
  const cancels = new Map<RequestSource, () => void>()
  let intake: Intake | null = null

  const rearrange = () => {
    for (const { source, queue, prefetch: count } of subscriptions) {
      const isWanted = wanted.current().has(source)
      if (isWanted && intake !== null && !cancels.has(source)) {
        const { take } = intake
        const consumer = {
          prefetch: count,
          take: async (message: Omit<Parameters<typeof take>[0], 'source'>) => {
            const settlement = await take({ ...message, source })
            wanted.settled(settlement)
            return settlement
          },
        }
        cancels.set(source, bus.consume(queue, consumer))
      }
      if (!isWanted) {
        cancels.get(source)?.()
        cancels.delete(source)
      }
    }
  }
  const wanted = wantedSources(log, rearrange, ending.signal)
  const stop = async () => {
    wanted.stop()
    await intake?.idle()
    bus.deleteQueue(subscriptions[2].queue)
  }
  return {
    queues: subscriptions.map(({ queue }) => queue),
    claim: async (claim, signal) => {
      const queue = subscriptions[1].queue
      const count = async () => bus.consumerCount(queue)
      settleClaim(await free(count, queue, claim, log, signal), queue, '/', claim, log)
    },
    serve: async (handler, signal) => {
      signal.throwIfAborted()
      for (const { queue, exchange, source } of subscriptions) {
        bus.declareQueue(queue)
        bus.bind(queue, exchange, source === 'fanout' ? '' : queue)
      }
      intake = requestIntake(options, handler, publisher, log, ending.signal)
      rearrange()
    },
    get session() {
      return bus.isUp && intake !== null && wanted.current().has('server') ? bus.outages + 1 : null
    },
    isDrained: async () =>
      bus.isUp && intake !== null && bus.count(subscriptions[1].queue) === 0 && intake.isIdle(),
    takeShared: wanted.takeShared,
    stop,
    [Symbol.asyncDispose]: async () => {
      await stop()
      if (intake !== null) await atMost(answersMsMax, intake.answered())
      ending.abort(new AgentError('AGENT_STOPPING', 'the RPC server was closed'))
    },
  }
}

/** A publisher to a bus in memory. Nobody's queue is declared by answering. */
export function memoryPublisher(
  bus: MemoryBus,
  options: OsloPublisherOptions,
  log: Log,
): Publisher {
  const closing = new AbortController()
  const link = memoryLink(bus, closing.signal)
  return osloPublisher(
    { replies: link, casts: link, notifications: link },
    options,
    log,
    async () => closing.abort(new AgentError('AGENT_STOPPING', 'the publisher was closed')),
  )
}

/** A way into a bus in memory, until `closing` aborts. */
export function memoryLink(bus: MemoryBus, closing: AbortSignal): PublishLink {
  const until = (signal: AbortSignal) => AbortSignal.any([signal, closing])
  return {
    get isReady() {
      return bus.isUp
    },
    returnedAtMs: null,
    publish: async (message, _mandatory, signal) =>
      (await bus.publish(message, until(signal))) ? 'routed' : 'returned',
    publishOnce: async (message) => {
      if (!bus.isUp) return 'lost'
      return (await bus.publish(message, closing)) ? 'routed' : 'returned'
    },
    publishToQueue: async (message, signal) => {
      bus.declareQueue(message.routingKey)
      bus.bind(message.routingKey, message.exchange, message.routingKey)
      await bus.publish(message, until(signal))
    },
    publishToAll: async (_topic, message, signal) => {
      await bus.publish(message, until(signal))
    },
  }
}
