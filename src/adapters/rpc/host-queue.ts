import type { ChannelModel } from 'amqplib'

import { AgentError } from '../../domain/errors.ts'
import { orAborted } from '../../lib/aborted.ts'
import { delay, monotonicMs } from '../../lib/clock.ts'
import type { Log } from '../../ports/log.ts'
import type { Claim } from '../../ports/rpc.ts'
import { brokerError } from './broker-socket.ts'
import { closeChannel, openChannel } from './declare.ts'
import { keepConnected, type Session } from './rabbit-connection.ts'
import type { Transport } from './transport-url.ts'

const lookEveryMs = 250

/** `RpcServer.claim` over RabbitMQ, on a connection that is gone when it ends. */
export async function claimQueue(
  transport: Transport,
  queue: string,
  claim: Claim,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  const found = Promise.withResolvers<number>()
  const look = async ({ model, signal: gone }: Session) => {
    const count = await free(() => consumersOf(model, queue), queue, claim, log, gone)
    found.resolve(count)
  }
  const setUp = async (session: Session) => {
    // Not waited for: the time for preparing a connection is shorter than the wait may be.
    look(session).catch((error: unknown) =>
      session.fail(brokerError(`cannot look at ${queue}`, error)),
    )
  }
  const connection = keepConnected(transport, 'claim', setUp, log)
  try {
    settleClaim(await orAborted(found.promise, signal), queue, transport.virtualHost, claim, log)
  } finally {
    await connection.end()
  }
}

/**
 * Looks until nobody consumes, or the time is over; resolves to how many consume. Where an earlier
 * life of the agent lost its host, the broker misses its consumer only after the heartbeats.
 */
export async function free(
  count: () => Promise<number>,
  queue: string,
  { isTakeOver, waitMs }: Claim,
  log: Log,
  signal: AbortSignal,
): Promise<number> {
  const startMs = monotonicMs()
  let isTold = false
  for (;;) {
    const consumers = await count()
    if (consumers === 0 || isTakeOver || monotonicMs() - startMs >= waitMs) return consumers
    if (!isTold) {
      log.warn('another consumer takes the requests of this host: waiting for it to go', {
        ...{ queue, consumers, waitMs },
      })
    }
    isTold = true
    await delay(lookEveryMs, signal)
  }
}

/** Goes on, or throws HOST_TAKEN. */
export function settleClaim(
  consumers: number,
  queue: string,
  virtualHost: string,
  { isTakeOver }: Claim,
  log: Log,
): void {
  if (consumers === 0) return
  if (isTakeOver) {
    log.warn('takes over beside another consumer, which gets some of the requests until it stops', {
      ...{ queue, consumers },
    })
    return
  }
  throw new AgentError(
    'HOST_TAKEN',
    `${consumers} other consumer${consumers === 1 ? '' : 's'} on ${queue}: a cinder-backup, or another agent, ` +
      'serves this host already. Stop it, or give this one another `host`; ' +
      `\`rabbitmqctl list_consumers -p ${virtualHost}\` and \`rabbitmqctl list_connections pid name ` +
      'client_properties` name it. `serve --take-over` starts all the same',
    { queue, consumers },
  )
}

/** A queue that is not there has none. A passive declare changes nothing, whatever flags the queue has. */
async function consumersOf(model: ChannelModel, queue: string): Promise<number> {
  const channel = await openChannel(model)
  try {
    const { consumerCount } = await channel.checkQueue(queue)
    await closeChannel(channel)
    return consumerCount
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 404) return 0
    throw error
  }
}
