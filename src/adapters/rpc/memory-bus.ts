import { delay, monotonicMs } from '../../lib/clock.ts'
import type { IncomingProperties, OutgoingMessage } from './oslo-envelope.ts'
import type { Settlement } from './request-intake.ts'

/** A message in a queue. */
export type QueuedMessage = {
  readonly body: Buffer
  readonly properties: IncomingProperties
  readonly redelivered: boolean
}

export type MemoryConsumer = {
  readonly prefetch: number
  readonly take: (message: QueuedMessage) => Promise<Settlement>
}

/**
 * A broker in memory: queues, bindings by routing key, acknowledgements, redelivery in order. The
 * exchange '' reaches every queue by its name, as in AMQP.
 */
export type MemoryBus = {
  /** Makes a queue that lives until it is deleted; safe to call again. */
  declareQueue(queue: string): void
  deleteQueue(queue: string): void
  bind(queue: string, exchange: string, routingKey: string): void
  /** Resolves to whether any queue took it. Waits while the bus is down. */
  publish(message: OutgoingMessage, signal: AbortSignal): Promise<boolean>
  /** Consumes until the function given back is called; that puts back nothing that is in hand. */
  consume(queue: string, consumer: MemoryConsumer): () => void
  consumerCount(queue: string): number
  /** Takes the oldest message; null where there is none. */
  get(queue: string): QueuedMessage | null
  /** Messages in the queue that nobody has in hand. */
  count(queue: string): number
  /** An outage: nothing is delivered and nothing accepted until `comeBack`; queues are kept. */
  goDown(): void
  comeBack(): void
  readonly isUp: boolean
  /** How often it was down. */
  readonly outages: number
}

/** With the moment after which nobody gets it any more. */
type WaitingMessage = QueuedMessage & { readonly expiresAtMs: number }

type Queue = { readonly messages: WaitingMessage[]; readonly consumers: Consuming[] }
type Consuming = MemoryConsumer & { inHandCount: number }

const downPollMs = 10

export function memoryBus(): MemoryBus {
  const queues = new Map<string, Queue>()
  const bindings = new Map<string, Set<string>>()
  let [isUp, outages] = [true, 0]

  const queueOf = (name: string): Queue => {
    const queue = queues.get(name) ?? { messages: [], consumers: [] }
    queues.set(name, queue)
    return queue
  }
  const liveQueue = (name: string): Queue | undefined => {
    const queue = queues.get(name)
    if (queue !== undefined) dropExpired(queue)
    return queue
  }
  const deliver = (queue: Queue): void => {
    dropExpired(queue)
    while (isUp && queue.messages.length > 0) {
      const consumer = queue.consumers.find(({ inHandCount, prefetch }) => inHandCount < prefetch)
      const message = consumer === undefined ? undefined : queue.messages.shift()
      if (consumer === undefined || message === undefined) return
      // Whoever just got one is asked last the next time.
      queue.consumers.splice(queue.consumers.indexOf(consumer), 1)
      queue.consumers.push(consumer)
      consumer.inHandCount += 1
      void consumer.take(message).then((settlement) => {
        consumer.inHandCount -= 1
        if (settlement === 'requeue' || settlement === 'pause') {
          queue.messages.unshift({ ...message, redelivered: true })
        }
        deliver(queue)
      })
    }
  }
  const targetsOf = ({ exchange, routingKey }: OutgoingMessage): readonly string[] => {
    if (exchange === '') return queues.has(routingKey) ? [routingKey] : []
    return [...(bindings.get(bindingKey(exchange, routingKey)) ?? [])].filter((queue) =>
      queues.has(queue),
    )
  }
  return {
    get isUp() {
      return isUp
    },
    get outages() {
      return outages
    },
    declareQueue: (name) => void queueOf(name),
    deleteQueue: (name) => void queues.delete(name),
    bind: (name, exchange, routingKey) => {
      const key = bindingKey(exchange, routingKey)
      bindings.set(key, (bindings.get(key) ?? new Set()).add(name))
    },
    publish: async (message, signal) => {
      signal.throwIfAborted()
      while (!isUp) await delay(downPollMs, signal)
      const targets = targetsOf(message)
      for (const target of targets) {
        const queue = queueOf(target)
        const { body, properties } = message
        const expiresAtMs = expiryOf(properties)
        queue.messages.push({ body, properties, redelivered: false, expiresAtMs })
        deliver(queue)
      }
      return targets.length > 0
    },
    consume: (name, consumer) => {
      const queue = queueOf(name)
      const consuming = { ...consumer, inHandCount: 0 }
      queue.consumers.push(consuming)
      queueMicrotask(() => deliver(queue)) // The caller can cancel by then.
      return () => {
        const index = queue.consumers.indexOf(consuming)
        if (index !== -1) queue.consumers.splice(index, 1)
      }
    },
    consumerCount: (name) => queues.get(name)?.consumers.length ?? 0,
    get: (name) => liveQueue(name)?.messages.shift() ?? null,
    count: (name) => liveQueue(name)?.messages.length ?? 0,
    goDown: () => {
      if (isUp) outages += 1
      isUp = false
    },
    comeBack: () => {
      isUp = true
      for (const queue of queues.values()) deliver(queue)
    },
  }
}

function expiryOf({ expiration }: OutgoingMessage['properties']): number {
  return monotonicMs() + Number(expiration ?? Number.POSITIVE_INFINITY)
}

/** Those behind a message that lives on are found when it is gone, as in RabbitMQ. */
function dropExpired({ messages }: Queue): void {
  const nowMs = monotonicMs()
  while ((messages[0]?.expiresAtMs ?? Number.POSITIVE_INFINITY) <= nowMs) messages.shift()
}

function bindingKey(exchange: string, routingKey: string): string {
  return JSON.stringify([exchange, routingKey])
}
