import type { Channel } from 'amqplib'

import { AgentError } from '../../domain/errors.ts'
import { atMost, orAborted } from '../../lib/aborted.ts'
import type { Log } from '../../ports/log.ts'
import type { RpcClient } from '../../ports/rpc-client.ts'
import { type DeclareMode, declarer, openChannel } from './declare.ts'
import { type ClientLines, osloClient, type ReplyQueue } from './oslo-client.ts'
import { newUniqueId } from './oslo-publisher.ts'
import { type PendingCalls, pendingCalls } from './pending-calls.ts'
import { publishLines } from './publish-lines.ts'
import { keepConnected, type Session } from './rabbit-connection.ts'
import type { RabbitOptions } from './rabbit-options.ts'
import { consumeArguments, replyTopology } from './topology.ts'
import { parseTransportUrl, type Transport } from './transport-url.ts'

export type RabbitClientOptions = {
  readonly transportUrl: string
  readonly rabbit: RabbitOptions
  readonly controlExchange: string
  readonly declare: DeclareMode
  /** Longer answers are dropped unread. */
  readonly messageBytesMax: number
}

/** Answers in hand at once; each is done with before the next is looked at. */
const prefetch = 100

/** How long the broker may take to delete the reply queue at the end. */
const deleteMsMax = 2_000

/**
 * An RPC client of oslo.messaging over RabbitMQ, on two connections of its own: one that sends and one
 * that takes the answers. They are opened with the first call, and again for ever. Throws
 * CONFIGURATION_INVALID.
 */
export function rabbitRpcClient(options: RabbitClientOptions, log: Log): RpcClient {
  const transport = parseTransportUrl(options.transportUrl, options.rabbit)
  const calls = pendingCalls(options.messageBytesMax, log)
  let lines: (ClientLines & { readonly end: () => Promise<unknown> }) | null = null
  const open = () => {
    const sending = publishLines(transport, 'call', ['calls'], options, log)
    const replies = keepReplyQueue(transport, options.declare, calls, log)
    const end = () => Promise.all([sending.end(), replies.end()])
    return { link: sending.links.calls, replies, end }
  }
  const connect = () => {
    lines ??= open()
    return lines
  }
  return osloClient(connect, calls, options.controlExchange, async () => {
    await lines?.end()
  })
}

/**
 * Keeps one reply queue consumed, under one name over all connections: answers to calls that were sent
 * before a loss still arrive. The name is random even with `use_queue_manager`, whose numbers Python
 * shares among the processes of a host: ours could only guess one, and take the answers of another.
 */
function keepReplyQueue(
  transport: Transport,
  mode: DeclareMode,
  calls: PendingCalls,
  log: Log,
): ReplyQueue & { readonly end: () => Promise<void> } {
  const name = `reply_${newUniqueId()}`
  const { rabbit } = transport
  const { declare } = declarer(mode, log)
  let isEnding = false
  let losses = 0
  let current: Channel | null = null
  let next = Promise.withResolvers<Channel>()

  const setUp = async (session: Session) => {
    await declare(session.model, replyTopology(rabbit, name))
    const channel = await openChannel(session.model)
    const lost = (text: string) => session.fail(new AgentError('BROKER_UNAVAILABLE', text))
    channel.on('error', (error: Error) => lost(`the channel for answers failed: ${error.message}`))
    await channel.prefetch(rabbit.rabbitQosPrefetchCount || prefetch)
    await channel.consume(
      name,
      (message) => {
        if (message === null) {
          if (!isEnding) lost(`the broker cancelled the consumer of ${name}: its queue is gone`)
          return
        }
        calls.take(message.content, message.properties)
        acknowledge(() => channel.ack(message))
      },
      { arguments: consumeArguments(rabbit, null) },
    )
    session.signal.throwIfAborted()
    session.signal.addEventListener('abort', () => {
      current = null
      losses += 1
      next = Promise.withResolvers()
    })
    current = channel
    next.resolve(channel)
  }
  const connection = keepConnected(transport, 'replies', setUp, log, 'urgent')
  return {
    name,
    whyNot: connection.whyNot,
    get losses() {
      return losses
    },
    ready: async (signal) => {
      await orAborted(Promise.resolve(current ?? next.promise), signal)
    },
    end: async () => {
      isEnding = true
      // Nobody else uses it, and by itself it would stay for half an hour.
      if (current !== null) await atMost(deleteMsMax, deleteQueue(current, name))
      await connection.end()
    },
  }
}

function acknowledge(ack: () => void): void {
  try {
    ack()
  } catch {
    // The channel is closed: the broker delivers the answer again, and it is known then.
  }
}

async function deleteQueue(channel: Channel, queue: string): Promise<void> {
  await channel.deleteQueue(queue)
}
