import { randomUUID } from 'node:crypto'
import type { TestContext } from 'node:test'

import { type Channel, type ConsumeMessage, connect, type Options } from 'amqplib'

import { delay } from '#src/lib/clock.ts'

type Owner = Pick<TestContext, 'after'>

/** A name that no other test has. */
export function uniqueName(prefix: string): string {
  return `${prefix}-${randomUUID().slice(0, 8)}`
}

/** What a test does to a broker by hand, on one plain connection. */
export type PlainClient = {
  readonly channel: Channel
  publish(exchange: string, key: string, body: Buffer | string, options?: Options.Publish): void
  /** Takes the next message of the queue; rejects when there is none in time. */
  next(queue: string): Promise<ConsumeMessage>
  count(queue: string): Promise<number>
  exists(queue: string): Promise<boolean>
}

export async function plainClient(owner: Owner, amqpUrl: string): Promise<PlainClient> {
  const model = await connect(amqpUrl)
  model.on('error', () => {}) // A broker that a test stops says so here.
  // Where the broker closes at the same time the library's `close` waits for ever; its event comes.
  const closed = new Promise((resolve) => model.once('close', resolve))
  owner.after(() => Promise.race([closed, model.close().catch(() => {})]))
  const channel = await model.createChannel()
  channel.on('error', () => {})
  const consumed = new Map<string, ReturnType<typeof inbox<ConsumeMessage>>>()
  return {
    channel,
    publish: (exchange, key, body, options) =>
      void channel.publish(exchange, key, Buffer.from(body), {
        contentType: 'application/json',
        ...options,
      }),
    next: async (queue) => {
      const known = consumed.get(queue)
      if (known !== undefined) return known.next()
      const messages = inbox<ConsumeMessage>()
      consumed.set(queue, messages)
      const take = (message: ConsumeMessage | null) => {
        if (message !== null) messages.put(message)
      }
      await channel.consume(queue, take, { noAck: true })
      return messages.next()
    },
    count: async (queue) => (await channel.checkQueue(queue)).messageCount,
    exists: async (queue) => {
      const probe = await model.createChannel()
      probe.on('error', () => {})
      return probe.checkQueue(queue).then(
        () => true,
        () => false,
      )
    },
  }
}

/** Things in the order of their arrival; waiting for one that does not come fails the test. */
export function inbox<T>() {
  const arrived: T[] = []
  const waiting: ((item: T) => void)[] = []
  return {
    put: (item: T): void => {
      const first = waiting.shift()
      if (first === undefined) arrived.push(item)
      else first(item)
    },
    next: async (msMax = 20_000): Promise<T> => {
      const item = arrived.shift()
      if (item !== undefined) return item
      const { promise, resolve } = Promise.withResolvers<T>()
      waiting.push(resolve)
      const came = new AbortController()
      try {
        const never = delay(msMax, came.signal).then(() => {
          throw new Error(`nothing arrived within ${msMax} ms`)
        })
        never.catch(() => {}) // Something came.
        return await Promise.race([promise, never])
      } finally {
        came.abort()
      }
    },
    get count(): number {
      return arrived.length
    },
  }
}

/** Asks again until it is so; fails after a while. For what the broker tells nobody. */
export async function eventually(
  isSo: () => boolean | Promise<boolean>,
  what: string,
  msMax = 20_000,
): Promise<void> {
  const signal = AbortSignal.timeout(msMax)
  while (!(await isSo())) {
    await delay(20, signal).catch(() => {
      throw new Error(`not within ${msMax} ms: ${what}`)
    })
  }
}
