import type { Channel, ChannelModel } from 'amqplib'

import { AgentError } from '../../domain/errors.ts'
import type { Log } from '../../ports/log.ts'
import type { Declare } from './topology.ts'

/**
 * What to do with a queue or exchange that exists with other flags: use it as it is, or stop. A
 * shared queue is never deleted.
 */
export type DeclareMode = 'adopt' | 'strict'

/** Declares, and remembers what was adopted, so that each is told once. */
export type Declarer = {
  /**
   * Makes sure that all of it exists, in order. Rejects with BROKER_REFUSED, in the broker's words,
   * where something exists otherwise and the mode is `strict`.
   */
  readonly declare: (model: ChannelModel, declares: readonly Declare[]) => Promise<void>
}

export function declarer(mode: DeclareMode, log: Log): Declarer {
  const adopted = new Set<string>()
  return {
    declare: async (model, declares) => {
      // A refused declare closes its channel, so this one is for declaring alone.
      let channel = await openChannel(model)
      for (const item of declares) {
        try {
          await declareOne(channel, item)
        } catch (error) {
          if (item.kind === 'binding' || !isRefusal(error)) throw error
          if (mode === 'strict') throw strictError(item.name, error)
          channel = await openChannel(model)
          await (item.kind === 'queue'
            ? channel.checkQueue(item.name)
            : channel.checkExchange(item.name))
          if (adopted.has(item.name)) continue
          adopted.add(item.name)
          log.warn('exists with other flags and is used as it is', {
            [item.kind]: item.name,
            broker: error.message,
          })
        }
      }
      await closeChannel(channel)
    },
  }
}

/**
 * Where the connection ends before the broker has answered, the library's `close` waits for ever; its
 * event comes. Source: amqplib/lib/channel.js, `toClosing` and `toClosed`.
 */
export async function closeChannel(channel: Channel): Promise<void> {
  const closed = new Promise((resolve) => channel.once('close', resolve))
  await Promise.race([closed, channel.close()])
}

/** A channel whose errors reach those who wait for it, and never the process. */
export async function openChannel(model: ChannelModel): Promise<Channel> {
  const channel = await model.createChannel()
  channel.on('error', () => {}) // The pending call is rejected with it.
  return channel
}

function declareOne(channel: Channel, item: Declare): Promise<unknown> {
  if (item.kind === 'binding') {
    return channel.bindQueue(item.queue, item.exchange, item.routingKey)
  }
  const { name, durable, autoDelete } = item
  return item.kind === 'exchange'
    ? channel.assertExchange(name, item.type, { durable, autoDelete })
    : channel.assertQueue(name, { durable, autoDelete, arguments: item.arguments })
}

/** Other flags (406), or no permission to create what may be there already (403). */
function isRefusal(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && (error.code === 406 || error.code === 403)
}

function strictError(name: string, error: Error): AgentError {
  return new AgentError(
    'BROKER_REFUSED',
    `cannot declare ${name}: ${error.message}; set the flags of [oslo_messaging_rabbit] as the ` +
      'other services have them, or declare = adopt',
    { name },
    error,
  )
}
