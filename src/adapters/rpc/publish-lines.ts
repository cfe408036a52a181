import { AgentError } from '../../domain/errors.ts'
import { orAborted } from '../../lib/aborted.ts'
import { delay, monotonicMs } from '../../lib/clock.ts'
import type { Log } from '../../ports/log.ts'
import { brokerError } from './broker-socket.ts'
import { type ConfirmedPublish, confirmChannel } from './confirm-channel.ts'
import { type DeclareMode, declarer } from './declare.ts'
import type { OutgoingMessage } from './oslo-envelope.ts'
import type { Published, PublishLink } from './oslo-publisher.ts'
import { quietWarnings } from './quiet-log.ts'
import { keepConnected, type Session } from './rabbit-connection.ts'
import { controlExchange, fanoutExchange, notificationTopology } from './topology.ts'
import type { Transport } from './transport-url.ts'

/** What a broker would not take, or lost with its channel, is repeated after this. */
const repeatMs = 250

/** One connection for publishing, with a link for each purpose, each on a channel of its own. */
export type PublishLines<Name extends string> = {
  readonly links: Readonly<Record<Name, PublishLink>>
  readonly end: () => Promise<void>
}

/** What there is while a connection lasts. */
type Line<Name extends string> = {
  readonly publishers: ReadonlyMap<Name, ConfirmedPublish>
  /** Declares a queue of that name with its binding, once. */
  readonly ensureQueue: (queue: string) => Promise<void>
  /** Declares it each time: it goes when those who listen go. */
  readonly ensureFanout: (topic: string) => Promise<void>
  readonly forgetQueue: (queue: string) => void
  readonly isBlocked: () => boolean
  /** Aborts when the connection is gone. */
  readonly gone: AbortSignal
}

/**
 * Keeps a publishing connection. A link's message waits while there is none, and is repeated, the
 * same bytes, when its connection was lost before the confirm.
 */
export function publishLines<Name extends string>(
  transport: Transport,
  role: string,
  names: readonly Name[],
  options: { readonly controlExchange: string; readonly declare: DeclareMode },
  log: Log,
): PublishLines<Name> {
  const closing = new AbortController()
  let current: Line<Name> | null = null
  let next = Promise.withResolvers<Line<Name>>()
  let returnedAtMs: number | null = null

  const openLine = lineOpener(transport, role, names, options, log)
  const setUp = async (session: Session) => {
    const line = await openLine(session)
    session.signal.throwIfAborted()
    if (session.isReturn) returnedAtMs = monotonicMs()
    session.signal.addEventListener('abort', () => {
      current = null
      next = Promise.withResolvers()
    })
    current = line
    next.resolve(line)
  }
  const connection = keepConnected(transport, role, setUp, log)

  const linkOf = (name: Name): PublishLink => {
    const publishOn = async (line: Line<Name>, message: OutgoingMessage, mandatory: boolean) =>
      (await line.publishers.get(name)?.(message, mandatory)) ?? 'lost'
    const repeatedly = async (
      attempt: (line: Line<Name>) => Promise<Published | 'lost'>,
      signal: AbortSignal,
    ): Promise<Published> => {
      const either = AbortSignal.any([signal, closing.signal])
      while (true) {
        const line = await orAborted(Promise.resolve(current ?? next.promise), either)
        const published = await whileItLasts(line, attempt(line), either)
        if (published !== 'lost') return published
        await delay(repeatMs, either)
      }
    }
    return {
      get isReady() {
        return current !== null && !current.isBlocked()
      },
      get returnedAtMs() {
        return returnedAtMs
      },
      publish: (message, mandatory, signal) =>
        repeatedly((line) => publishOn(line, message, mandatory), signal),
      publishOnce: async (message, mandatory) => {
        if (current === null || current.isBlocked()) return 'lost'
        return publishOn(current, message, mandatory)
      },
      publishToQueue: async (message, signal) => {
        const queue = message.routingKey
        await repeatedly(async (line) => {
          await line.ensureQueue(queue)
          const published = await publishOn(line, message, true)
          if (published !== 'returned') return published
          line.forgetQueue(queue) // Someone deleted it: it is declared again.
          return 'lost'
        }, signal)
      },
      publishToAll: async (topic, message, signal) => {
        await repeatedly(async (line) => {
          await line.ensureFanout(topic)
          return publishOn(line, message, false)
        }, signal)
      },
    }
  }
  return {
    links: Object.fromEntries(names.map((name) => [name, linkOf(name)])) as Record<
      Name,
      PublishLink
    >,
    end: async () => {
      closing.abort(new AgentError('AGENT_STOPPING', 'the publisher was closed'))
      await connection.end()
    },
  }
}

/** An attempt is lost with its connection, whatever the library still waits for. Rejects as `signal` says. */
async function whileItLasts(
  { gone }: Pick<Line<string>, 'gone'>,
  attempt: Promise<Published | 'lost'>,
  signal: AbortSignal,
): Promise<Published | 'lost'> {
  try {
    return await orAborted(attempt, AbortSignal.any([signal, gone]))
  } catch (error) {
    if (gone.aborted && !signal.aborted) return 'lost'
    throw error
  }
}

/** Prepares each new connection of one set of lines. */
function lineOpener<Name extends string>(
  { rabbit }: Transport,
  role: string,
  names: readonly Name[],
  options: { readonly controlExchange: string; readonly declare: DeclareMode },
  log: Log,
): (session: Session) => Promise<Line<Name>> {
  const { declare } = declarer(options.declare, log)
  const warn = quietWarnings(log, 3)

  return async (session) => {
    let blocked = false
    session.model.on('blocked', (reason) => {
      blocked = true
      warn('the broker takes no messages', { role, reason })
    })
    session.model.on('unblocked', () => {
      blocked = false
      warn('the broker takes messages again', { role })
    })
    await declare(session.model, [controlExchange(rabbit, options.controlExchange)])
    const isBlocked = () => blocked
    const publishers = new Map<Name, ConfirmedPublish>()
    for (const name of names) publishers.set(name, await confirmChannel(session, isBlocked))

    const queues = new Map<string, Promise<void>>()
    const ensureQueue = (queue: string): Promise<void> => {
      const declares = notificationTopology(rabbit, options.controlExchange, queue)
      const ensured = queues.get(queue) ?? declare(session.model, declares)
      queues.set(queue, ensured)
      return ensured
    }
    // What cannot be declared costs the connection: the next one tries again.
    const orFail = (what: string, declared: Promise<void>) =>
      declared.catch((error: unknown) =>
        session.fail(session.reason() ?? brokerError(`cannot declare ${what}`, error)),
      )
    return {
      publishers,
      ensureQueue: (queue) => orFail(`the queue ${queue}`, ensureQueue(queue)),
      ensureFanout: (topic) => {
        const exchange = fanoutExchange(rabbit, topic)
        return orFail(`the exchange ${exchange.name}`, declare(session.model, [exchange]))
      },
      forgetQueue: (queue) => queues.delete(queue),
      isBlocked,
      gone: session.signal,
    }
  }
}
