import { randomUUID } from 'node:crypto'

import type { Channel, ConsumeMessage } from 'amqplib'

import { AgentError, errorCodes } from '../../domain/errors.ts'
import { isJsonObject, type Json, type JsonObject } from '../../domain/json.ts'
import type { RequestContext } from '../../domain/request-context.ts'
import type { Log } from '../../ports/log.ts'
import { connectionName, openFirst } from './broker-socket.ts'
import { type DeclareMode, declarer, openChannel } from './declare.ts'
import { openBody } from './oslo-envelope.ts'
import { encodeCast } from './oslo-request.ts'
import type { RabbitOptions } from './rabbit-options.ts'
import { controlExchange } from './topology.ts'
import { parseTransportUrl } from './transport-url.ts'

export type SchedulerOptions = {
  readonly transportUrl: string
  readonly rabbit: RabbitOptions
  readonly declare: DeclareMode
  readonly controlExchange: string
  readonly notificationTopics: readonly string[]
}

/** What the bus tells of a backup: the inner message of a notification. */
export type HeardEvent = {
  readonly eventType: string
  readonly payload: JsonObject
}

/** The bus as a scheduler sees it: requests out, answers and notifications in. */
export type SchedulerBus = AsyncDisposable & {
  /**
   * Sends a request to `<topic>` or `<topic>.<server>` and resolves to the answer's result. Rejects
   * with CALL_UNROUTABLE where nobody takes messages there, and with the code of the refusal.
   */
  request(
    to: { readonly topic: string; readonly server: string | null },
    message: {
      readonly method: string
      readonly args: JsonObject
      readonly context: RequestContext
    },
    signal: AbortSignal,
  ): Promise<Json>

  /** Calls `listener` for each notification from now on; `onLost` when the connection ends. */
  listen(listener: (event: HeardEvent) => void, onLost: (error: AgentError) => void): void
}

type Waiting = { resolve(result: Json): void; reject(error: Error): void }

/**
 * Connects as a scheduler would: any language can, with these few declares. Its queue is its own and
 * goes with the connection, so that nobody else's notifications are taken (see docs/rpc.md). Rejects
 * with BROKER_UNAVAILABLE or BROKER_REFUSED.
 */
export async function connectScheduler(
  options: SchedulerOptions,
  log: Log,
  signal: AbortSignal,
): Promise<SchedulerBus> {
  const transport = parseTransportUrl(options.transportUrl, options.rabbit)
  const connection = await openFirst(transport, connectionName('send'), signal)
  const { model } = connection
  const exchange = controlExchange(transport.rabbit, options.controlExchange)
  await declarer(options.declare, log).declare(model, [exchange])
  const channel = await openChannel(model)
  const { queue } = await channel.assertQueue('', {
    exclusive: true,
    autoDelete: true,
    durable: false,
  })
  for (const topic of options.notificationTopics) {
    for (const priority of ['info', 'error']) {
      await channel.bindQueue(queue, exchange.name, `${topic}.${priority}`)
    }
  }
  const waiting = new Map<string, Waiting>()
  const listeners: ((event: HeardEvent) => void)[] = []
  await consume(channel, queue, waiting, listeners)

  return {
    async request({ topic, server }, { method, args, context }, requestSignal) {
      const id = randomUUID()
      const { promise, resolve, reject } = Promise.withResolvers<Json>()
      waiting.set(id, { resolve, reject })
      const onAbort = () => reject(requestSignal.reason)
      requestSignal.addEventListener('abort', onAbort, { once: true })
      const message = encodeCast(
        exchange.name,
        { topic, server },
        {
          method,
          version: '2.0',
          args,
          context,
          uniqueId: id.replaceAll('-', ''),
          replyTo: { kind: 'amqp', queue, correlationId: id, enveloped: true },
        },
      )
      channel.publish(message.exchange, message.routingKey, message.body, {
        ...message.properties,
        messageId: id,
        mandatory: true,
      })
      try {
        return await promise
      } finally {
        waiting.delete(id)
        requestSignal.removeEventListener('abort', onAbort)
      }
    },
    listen(listener, onLost) {
      listeners.push(listener)
      void connection.closed.then((error) => {
        for (const { reject } of waiting.values()) reject(error)
        onLost(error)
      })
    },
    async [Symbol.asyncDispose]() {
      await connection.close()
    },
  }
}

async function consume(
  channel: Channel,
  queue: string,
  waiting: Map<string, Waiting>,
  listeners: readonly ((event: HeardEvent) => void)[],
): Promise<void> {
  channel.on('return', ({ fields, properties }) => {
    const error = new AgentError(
      'CALL_UNROUTABLE',
      `no agent takes messages at ${fields.routingKey}: is it running, and is --host its host?`,
    )
    waiting.get(String(properties.messageId))?.reject(error)
  })
  await channel.consume(
    queue,
    (delivery) => {
      if (delivery !== null) take(delivery, waiting, listeners)
    },
    { noAck: true },
  )
}

/** What cannot be read is somebody else's: notifications of all services come by. */
function take(
  { content, properties }: ConsumeMessage,
  waiting: Map<string, Waiting>,
  listeners: readonly ((event: HeardEvent) => void)[],
): void {
  let message: JsonObject
  try {
    message = openBody(content, properties, Number.POSITIVE_INFINITY).message
  } catch {
    return
  }
  const asked = waiting.get(String(properties.correlationId))
  if (asked !== undefined) {
    answer(asked, message)
    return
  }
  const { event_type: eventType, payload } = message
  if (typeof eventType !== 'string' || !isJsonObject(payload)) return
  for (const listener of listeners) listener({ eventType, payload })
}

function answer({ resolve, reject }: Waiting, { result, failure }: JsonObject): void {
  if (failure === null || failure === undefined) {
    resolve(result ?? null)
    return
  }
  const { error_code: code, message } = isJsonObject(failure) ? failure : {}
  const text = typeof message === 'string' ? message : JSON.stringify(failure)
  reject(new AgentError(errorCodes.find((known) => known === code) ?? 'ASSERTION_FAILED', text))
}
