import { randomUUID } from 'node:crypto'

import type { ConfirmChannel } from 'amqplib'

import { AgentError } from '../../domain/errors.ts'
import { delay } from '../../lib/clock.ts'
import type { OutgoingMessage } from './oslo-envelope.ts'
import type { Published } from './oslo-publisher.ts'
import type { Session } from './rabbit-connection.ts'

/** A broker that is well confirms in milliseconds; a quorum that changes its leader, in seconds. */
const confirmMsMax = 60_000

export type ConfirmedPublish = (
  message: OutgoingMessage,
  mandatory: boolean,
) => Promise<Published | 'lost'>

/**
 * Opens a channel whose `publish` resolves with the broker's confirm: `returned` where no queue took
 * a mandatory message, `lost` where the channel ended first or the broker refused responsibility.
 * A broker that is not blocked and does not confirm within a minute loses the connection.
 */
export async function confirmChannel(
  session: Session,
  isBlocked: () => boolean,
): Promise<ConfirmedPublish> {
  const channel = await session.model.createConfirmChannel()
  const lost = (text: string) => session.fail(new AgentError('BROKER_UNAVAILABLE', text))
  channel.on('error', (error: Error) => lost(`a publishing channel failed: ${error.message}`))
  const returned = new Set<string>()
  channel.on('return', ({ properties }) => returned.add(String(properties.messageId)))

  return async (message, mandatory) => {
    const confirmed = new AbortController()
    void watch(confirmed.signal, isBlocked, lost)
    try {
      return await publish(channel, message, mandatory, returned)
    } finally {
      confirmed.abort()
    }
  }
}

function publish(
  channel: ConfirmChannel,
  { exchange, routingKey, body, properties }: OutgoingMessage,
  mandatory: boolean,
  returned: Set<string>,
): Promise<Published | 'lost'> {
  // The return comes before the confirm, and is known by this id only.
  const messageId = mandatory ? (properties.messageId ?? randomUUID()) : undefined
  return new Promise((resolve) => {
    const onConfirm = (error: unknown) => {
      const isReturned = messageId !== undefined && returned.delete(messageId)
      resolve(error ? 'lost' : isReturned ? 'returned' : 'routed')
    }
    const options = { ...properties, mandatory, ...(messageId === undefined ? {} : { messageId }) }
    try {
      channel.publish(exchange, routingKey, body, options, onConfirm)
    } catch {
      resolve('lost') // The channel is closed.
    }
  })
}

async function watch(
  confirmed: AbortSignal,
  isBlocked: () => boolean,
  lost: (text: string) => void,
): Promise<void> {
  try {
    do await delay(confirmMsMax, confirmed)
    while (isBlocked()) // An alarm is no fault of the connection's: it is waited out.
    lost(`the broker confirmed no message for ${confirmMsMax / 1000} s`)
  } catch {
    // Confirmed in time.
  }
}
