import { randomUUID } from 'node:crypto'

import type { Channel, ConsumeMessage } from 'amqplib'

import { AgentError, hasCode } from '../../domain/errors.ts'
import { atMost, orAborted } from '../../lib/aborted.ts'
import type { Log } from '../../ports/log.ts'
import type { Publisher, RequestSource, RpcServer } from '../../ports/rpc.ts'
import { channelConsumers, type Subscription } from './consumers.ts'
import { type DeclareMode, type Declarer, declarer, openChannel } from './declare.ts'
import { claimQueue } from './host-queue.ts'
import { keepConnected, type Session } from './rabbit-connection.ts'
import type { RabbitOptions } from './rabbit-options.ts'
import {
  type Intake,
  type IntakeOptions,
  requestIntake,
  type Settlement,
} from './request-intake.ts'
import { consumeArguments, type ServerTopology, serverTopology } from './topology.ts'
import { parseTransportUrl } from './transport-url.ts'
import { wantedSources } from './wanted-sources.ts'

export type RabbitServerOptions = IntakeOptions & {
  readonly transportUrl: string
  readonly rabbit: RabbitOptions
  readonly controlExchange: string
  readonly topic: string // `cinder-backup`
  readonly host: string
  /** Deliveries in hand at once from each of the host's own queues. */
  readonly prefetch: number
  readonly declare: DeclareMode
}

/** How long a stop waits for the broker, and for answers to callers that are on their way. */
const stopMsMax = 2_000

/**
 * An RPC server of oslo.messaging over RabbitMQ, on a connection of its own. Throws
 * CONFIGURATION_INVALID; connects once `serve` is called, which rejects with BROKER_REFUSED where
 * `declare` is `strict` and a queue exists with other flags, or where the broker permits no queues of
 * the kind that is configured.
 */
export function connectRabbitServer(
  options: RabbitServerOptions,
  publisher: Publisher,
  log: Log,
): RpcServer {
  const { controlExchange, topic, host } = options
  const transport = parseTransportUrl(options.transportUrl, options.rabbit)
  const fanoutId = randomUUID().replaceAll('-', '') // One name for the life of the process.
  const topology = serverTopology(transport.rabbit, { controlExchange, topic, host }, fanoutId)
  const ending = new AbortController()
  const taking = takingSession()
  let serving: { readonly intake: Intake; readonly end: () => Promise<void> } | null = null
  let stopping: Promise<void> | null = null

  const wanted = wantedSources(
    log,
    () => {
      // A refusal closes the channel, and that gives the session up by itself.
      taking.last?.want(wanted.current()).catch(() => {})
    },
    ending.signal,
  )
  const stop = async () => {
    wanted.stop()
    if (serving === null) return
    const { last } = taking
    if (last !== null) await atMost(stopMsMax, last.want(wanted.current()))
    await serving.intake.idle()
    if (last !== null && topology.ownsFanoutQueue) {
      await atMost(stopMsMax, deleteQueue(last.channel, topology.fanoutQueue))
    }
    await serving.end()
  }
  const stopOnce = () => {
    stopping ??= stop()
    return stopping
  }
  return {
    queues: [topology.topicQueue, topology.serverQueue, topology.fanoutQueue],
    claim: (claim, signal) => claimQueue(transport, topology.serverQueue, claim, log, signal),
    serve: async (handler, signal) => {
      const intake = requestIntake(options, handler, publisher, log, ending.signal)
      const first = Promise.withResolvers<void>()
      const subscribe = subscriber(
        topology,
        options,
        declarer(options.declare, log),
        intake,
        wanted,
      )
      const setUp = async (session: Session) => {
        try {
          taking.begin(session, await subscribe(session))
          first.resolve()
        } catch (cause) {
          const error = session.reason() ?? cause
          if (hasCode(error, 'BROKER_REFUSED')) first.reject(error)
          throw error
        }
      }
      serving = { intake, ...keepConnected(transport, 'consume', setUp, log, 'urgent') }
      try {
        await orAborted(first.promise, signal)
      } catch (error) {
        await stopOnce()
        throw error
      }
    },
    get session() {
      return wanted.current().has('server') ? taking.count : null
    },
    isDrained: async () =>
      (await taking.isEmpty(topology.serverQueue)) && serving?.intake.isIdle() === true,
    takeShared: wanted.takeShared,
    stop: stopOnce,
    [Symbol.asyncDispose]: async () => {
      await stopOnce()
      if (serving !== null) await atMost(stopMsMax, serving.intake.answered())
      ending.abort(new AgentError('AGENT_STOPPING', 'the RPC server was closed'))
    },
  }
}

/** The consumers of one session. */
type Subscribed = {
  readonly channel: Channel
  readonly want: (sources: ReadonlySet<RequestSource>) => Promise<void>
}

/** Which session has consumers now, and how many had. */
function takingSession() {
  let sessions = 0
  let signal: AbortSignal | null = null
  let last: Subscribed | null = null
  const isTaking = () => signal !== null && !signal.aborted
  return {
    begin: (session: Session, subscribed: Subscribed) => {
      sessions += 1
      signal = session.signal
      last = subscribed
    },
    get last() {
      return last
    },
    /** Null while there is none. */
    get count() {
      return isTaking() ? sessions : null
    },
    isEmpty: async (queue: string): Promise<boolean> => {
      if (last === null || !isTaking()) return false
      try {
        const { messageCount } = await last.channel.checkQueue(queue)
        return messageCount === 0
      } catch {
        return false // The queue or the connection is gone: another session will tell.
      }
    },
  }
}

/** Declares and consumes on each new session; what it is given lasts over all of them. */
function subscriber(
  topology: ServerTopology,
  { prefetch, rabbit }: RabbitServerOptions,
  { declare }: Declarer,
  intake: Intake,
  wanted: ReturnType<typeof wantedSources>,
): (session: Session) => Promise<Subscribed> {
  let streamOffset: 'last' | number = 'last'

  return async (session) => {
    await declare(session.model, topology.declares)
    const channel = await openChannel(session.model)
    const lost = (text: string) => session.fail(new AgentError('BROKER_UNAVAILABLE', text))
    channel.on('error', (error: Error) => lost(`the consuming channel failed: ${error.message}`))

    const onDelivery = async (message: ConsumeMessage, source: RequestSource): Promise<void> => {
      const { content: body, properties, fields } = message
      const offset: unknown = properties.headers?.['x-stream-offset']
      if (typeof offset === 'number') streamOffset = offset + 1
      const incoming = { body, properties, redelivered: fields.redelivered, source }
      const settlement = await intake.take(incoming)
      wanted.settled(settlement)
      settle(channel, message, settlement)
    }
    const limits = { prefetch: rabbit.rabbitQosPrefetchCount || prefetch, rabbit, streamOffset }
    const consumers = channelConsumers(
      channel,
      subscriptionsOf(topology, limits),
      (message, source) => void onDelivery(message, source),
      (queue) => {
        // Another stream of the same name counts its messages anew.
        if (queue === topology.fanoutQueue) streamOffset = 'last'
        lost(`the broker cancelled the consumer of ${queue}: its queue is gone`)
      },
    )
    await consumers.want(wanted.current())
    return { channel, want: consumers.want }
  }
}

function subscriptionsOf(
  topology: ServerTopology,
  limits: {
    readonly prefetch: number
    readonly rabbit: RabbitOptions
    readonly streamOffset: 'last' | number
  },
): readonly Subscription[] {
  const { prefetch, rabbit, streamOffset } = limits
  const plain = consumeArguments(rabbit, null)
  const fanout = consumeArguments(rabbit, topology.fanoutIsStream ? streamOffset : null)
  return [
    // One at a time, so that an agent never holds what another could do.
    { source: 'topic', queue: topology.topicQueue, prefetch: 1, arguments: plain },
    { source: 'server', queue: topology.serverQueue, prefetch, arguments: plain },
    { source: 'fanout', queue: topology.fanoutQueue, prefetch, arguments: fanout },
  ]
}

/** The channel is the delivery's own: a tag means nothing on another. */
function settle(channel: Channel, message: ConsumeMessage, settlement: Settlement): void {
  try {
    if (settlement === 'ack') channel.ack(message)
    else channel.nack(message, false, settlement !== 'reject')
  } catch {
    // The channel is closed: the broker delivers the message again, and it is known then.
  }
}

async function deleteQueue(channel: Channel, queue: string): Promise<void> {
  await channel.deleteQueue(queue)
}
