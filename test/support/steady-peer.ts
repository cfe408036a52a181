import { randomUUID } from 'node:crypto'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { type ConfirmChannel, type ConsumeMessage, connect } from 'amqplib'

import { type OutgoingMessage, osloProperties } from '#src/adapters/rpc/oslo-envelope.ts'
import { encodeCast } from '#src/adapters/rpc/oslo-request.ts'
import { backupToPrimitive } from '#src/adapters/rpc/versioned-object.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { Operation } from '#src/domain/job.ts'
import type { JsonObject } from '#src/domain/json.ts'
import type { RequestContext } from '#src/domain/request-context.ts'
import { monotonicMs } from '#src/lib/clock.ts'
import { aContext } from './builders.ts'

/** A notification as it came, copies included. */
export type Heard = {
  readonly eventType: string
  readonly messageId: string
  readonly payload: JsonObject
  /** The inner message, byte for byte. */
  readonly body: string
  readonly atMs: number
}

/** A peer on the bus that outlives the broker: what it sends is confirmed, what it hears it keeps. */
export type SteadyPeer = {
  readonly heard: readonly Heard[]
  /** Resolves when the broker has confirmed it; repeated, the same bytes, where it went away before. */
  publish(message: OutgoingMessage): Promise<void>
  /** Resolves to what was sent, to be sent again. */
  cast(
    operation: Operation,
    record: BackupRecord,
    extra?: JsonObject,
    host?: string | null,
  ): Promise<OutgoingMessage>
  /** A message that nobody's library would send. */
  raw(
    body: Buffer | string,
    key?: string,
    properties?: Partial<OutgoingMessage['properties']>,
  ): Promise<void>
  /** Resolves to the first event that fits; rejects, with what was heard, after `seconds`. */
  hears(what: string, fits: (event: Heard) => boolean, seconds?: number): Promise<Heard>
  /** The `.end` or `.error` of an operation of a backup. */
  ended(operation: Operation, backupId: string, seconds?: number): Promise<Heard>
}

const exchange = 'openstack'
const queues = ['notifications.info', 'notifications.error']

/** `context`: whose requests it sends. `durable`: as the other side declares its queues, so that they outlive the broker too. */
export async function steadyPeer(
  owner: Pick<TestContext, 'after'>,
  amqpUrl: string,
  { durable = false, context = {} }: { durable?: boolean; context?: Partial<RequestContext> } = {},
): Promise<SteadyPeer> {
  const heard: Heard[] = []
  const stop = new AbortController()
  let next = Promise.withResolvers<ConfirmChannel>()

  async function liveOnce(): Promise<void> {
    const model = await connect(amqpUrl)
    model.on('error', () => undefined) // Its end is seen below.
    const closed = new Promise<void>((resolve) => model.on('close', () => resolve()))
    const onStop = () => void model.close().catch(() => undefined)
    stop.signal.addEventListener('abort', onStop)
    try {
      const channel = await model.createConfirmChannel()
      channel.on('error', () => void model.close().catch(() => undefined))
      await channel.assertExchange(exchange, 'topic', { durable })
      for (const queue of queues) {
        await channel.assertQueue(queue, { durable })
        await channel.bindQueue(queue, exchange, queue)
        const take = (message: ConsumeMessage | null) => {
          if (message === null) return
          heard.push(heardIn(message))
          channel.ack(message)
        }
        await channel.consume(queue, take)
      }
      next.resolve(channel)
      await closed
    } finally {
      next = Promise.withResolvers()
      stop.signal.removeEventListener('abort', onStop)
      onStop()
    }
  }
  async function live(): Promise<void> {
    while (!stop.signal.aborted) {
      await liveOnce().catch(() => undefined)
      await sleep(100)
    }
  }
  const living = live()
  owner.after(async () => {
    stop.abort()
    await living
  })

  async function publish({ exchange: to, routingKey, body, properties }: OutgoingMessage) {
    while (true) {
      const channel = await next.promise
      const isTaken = await new Promise<boolean>((resolve) => {
        try {
          channel.publish(to, routingKey, body, properties, (error: unknown) => resolve(!error))
        } catch {
          resolve(false)
        }
      })
      if (isTaken) return
      await sleep(50)
    }
  }
  async function hears(what: string, fits: (event: Heard) => boolean, seconds = 60) {
    const deadline = monotonicMs() + seconds * 1000
    while (true) {
      const event = heard.find(fits)
      if (event !== undefined) return event
      if (monotonicMs() > deadline) {
        const types = heard.slice(-40).map(({ eventType }) => eventType)
        throw new Error(`not heard in ${seconds} s: ${what}; the last heard: ${types.join(', ')}`)
      }
      await sleep(20)
    }
  }
  await next.promise

  return {
    heard,
    publish,
    hears,
    async cast(operation, record, extra = {}, host = null) {
      const message = encodeCast(
        exchange,
        { topic: 'cinder-backup', server: host },
        {
          method: `${operation}_backup`,
          version: '2.0',
          args: { backup: backupToPrimitive({ record, parent: null }), ...extra },
          context: aContext({ projectId: record.project_id, userId: record.user_id, ...context }),
          uniqueId: randomUUID().replaceAll('-', ''),
          replyTo: null,
        },
      )
      await publish(message)
      return message
    },
    raw: (body, key = 'cinder-backup', properties = {}) =>
      publish({
        exchange,
        routingKey: key,
        body: Buffer.from(body),
        properties: { ...osloProperties, ...properties },
      }),
    ended: (operation, backupId, seconds) =>
      hears(
        `the end of the ${operation} of ${backupId}`,
        ({ eventType, payload }) =>
          payload['backup_id'] === backupId && isFinal(eventType, operation),
        seconds,
      ),
  }
}

/** Whether an event ends an operation; any, where none is given. */
export function isFinal(eventType: string, operation: Operation | null = null): boolean {
  const [, name, end] = eventType.split('.')
  return (end === 'end' || end === 'error') && (operation === null || name === operation)
}

function heardIn({ content }: ConsumeMessage): Heard {
  const body = JSON.parse(content.toString())['oslo.message']
  const { event_type: eventType, message_id: messageId, payload } = JSON.parse(body)
  return { eventType, messageId, payload, body, atMs: monotonicMs() }
}
