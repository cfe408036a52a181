import type { Channel, ConsumeMessage } from 'amqplib'

import type { RequestSource } from '../../ports/rpc.ts'

export type Subscription = {
  readonly source: RequestSource
  readonly queue: string
  /** Unacknowledged deliveries of this consumer at once. */
  readonly prefetch: number
  readonly arguments: Record<string, unknown>
}

/**
 * The consumers of one channel, brought step by step to what is wanted. A delivery that comes for a
 * consumer that is no longer wanted is put back at once.
 */
export function channelConsumers(
  channel: Channel,
  subscriptions: readonly Subscription[],
  onDelivery: (message: ConsumeMessage, source: RequestSource) => void,
  onCancelled: (queue: string) => void,
) {
  let wanted: ReadonlySet<RequestSource> = new Set()
  const consuming = new Set<RequestSource>()
  let applied: Promise<void> = Promise.resolve()

  const consume = async (subscription: Subscription) => {
    const { source, queue, prefetch, arguments: consumerArguments } = subscription
    await channel.prefetch(prefetch)
    const onMessage = (message: ConsumeMessage | null) => {
      if (message === null) onCancelled(queue)
      else if (wanted.has(source)) onDelivery(message, source)
      else channel.nack(message, false, true)
    }
    await channel.consume(queue, onMessage, { consumerTag: source, arguments: consumerArguments })
    consuming.add(source)
  }
  const apply = async () => {
    for (const subscription of subscriptions) {
      const { source } = subscription
      // Looked at anew each time: what is wanted may change while the broker answers.
      while (wanted.has(source) !== consuming.has(source)) {
        if (wanted.has(source)) {
          await consume(subscription)
        } else {
          await channel.cancel(source)
          consuming.delete(source)
        }
      }
    }
  }
  return {
    /** Resolves when the broker has confirmed it; rejects where the channel is gone. */
    want: (sources: ReadonlySet<RequestSource>): Promise<void> => {
      wanted = sources
      applied = applied.then(apply)
      return applied
    },
  }
}
