import { randomUUID } from 'node:crypto'

import { delay, monotonicMs } from '../../lib/clock.ts'
import type { Log } from '../../ports/log.ts'
import type { Notification, Publisher, ReplyAddress } from '../../ports/rpc.ts'
import type { OutgoingMessage } from './oslo-envelope.ts'
import { encodeNotification, type NotificationDriver } from './oslo-notification.ts'
import { encodeHeartbeat, encodeReply } from './oslo-reply.ts'
import { encodeCast, encodeFanout } from './oslo-request.ts'

/** Source: oslo_messaging/_drivers/amqpdriver.py: a reply's retries and the memory of dead queues. */
const replyRetryMs = 250
const deadQueueMs = 60_000
const deadQueuesMax = 200
const waitingRepliesMax = 200

/** How long a peer gets to declare its queue again after the broker came back. */
const returnMs = 5_000
const castRetryMs = 500

/** `returned`: nobody has a queue there. */
export type Published = 'routed' | 'returned'

/** A way into the broker, with confirms. */
export type PublishLink = {
  /** Whether a message would leave at once: connected and not blocked. */
  readonly isReady: boolean
  /** When a broker that was away was last there again; null where it never was away. */
  readonly returnedAtMs: number | null
  /** Publishes until the broker confirms, the same bytes each time. */
  publish(message: OutgoingMessage, mandatory: boolean, signal: AbortSignal): Promise<Published>
  /** One try; `lost` where there is no connection now, or none any more at the confirm. */
  publishOnce(message: OutgoingMessage, mandatory: boolean): Promise<Published | 'lost'>
  /** Publishes to a queue of the same name as the routing key, declaring it first. */
  publishToQueue(message: OutgoingMessage, signal: AbortSignal): Promise<void>
  /** Publishes to the fanout exchange of a topic, declaring it first; to nobody is no failure. */
  publishToAll(topic: string, message: OutgoingMessage, signal: AbortSignal): Promise<void>
}

export type OsloPublisherOptions = {
  readonly controlExchange: string
  /** `backup.<host>`. */
  readonly publisherId: string
  /** Each notification goes to each topic, in the form of each driver. */
  readonly topics: readonly string[]
  readonly drivers: readonly NotificationDriver[]
  /** How long an answer is tried again while the caller's queue is missing. */
  readonly replyRetrySeconds: number
}

/** What oslo sends and when, over links that know nothing of it; `close` ends them. */
export function osloPublisher(
  links: {
    readonly replies: PublishLink
    readonly casts: PublishLink
    readonly notifications: PublishLink
  },
  options: OsloPublisherOptions,
  log: Log,
  close: () => Promise<void>,
): Publisher {
  return {
    get isReady() {
      return links.replies.isReady && links.casts.isReady && links.notifications.isReady
    },
    reply: replySender(links.replies, options, log),
    monitor: (to, signal) => monitorCall(links.replies, to, signal),
    notify: async (notification, signal) => {
      const copies = notificationCopies(options, notification)
      await Promise.all(copies.map((copy) => links.notifications.publishToQueue(copy, signal)))
    },
    cast: (target, cast, signal) =>
      publishToServer(links.casts, encodeCast(options.controlExchange, target, cast), signal),
    fanout: (topic, cast, signal) =>
      links.casts.publishToAll(topic, encodeFanout(topic, cast), signal),
    [Symbol.asyncDispose]: close,
  }
}

/**
 * Publishes a request; resolves to false where no queue is bound there, and did not come back soon
 * after the broker did.
 */
export async function publishToServer(
  link: PublishLink,
  message: OutgoingMessage,
  signal: AbortSignal,
): Promise<boolean> {
  while ((await link.publish(message, true, signal)) === 'returned') {
    const sinceMs = link.returnedAtMs
    if (sinceMs === null || monotonicMs() - sinceMs > returnMs) return false
    await delay(castRetryMs, signal)
  }
  return true
}

function notificationCopies(
  { controlExchange, publisherId, topics, drivers }: OsloPublisherOptions,
  notification: Notification,
): OutgoingMessage[] {
  return topics.flatMap((topic) =>
    drivers.map((driver) =>
      encodeNotification(controlExchange, topic, driver, publisherId, notification),
    ),
  )
}

function replySender(link: PublishLink, options: OsloPublisherOptions, log: Log) {
  const deadUntilMs = new Map<string, number>()
  let waitingCount = 0

  const giveUp = (queue: string, reason: string): false => {
    deadUntilMs.delete(queue) // So that the newest is last.
    deadUntilMs.set(queue, monotonicMs() + deadQueueMs)
    const [oldest] = deadUntilMs.keys()
    if (deadUntilMs.size > deadQueuesMax && oldest !== undefined) deadUntilMs.delete(oldest)
    log.warn('an answer was dropped', { queue, reason })
    return false
  }
  return async (...[to, answer, signal]: Parameters<Publisher['reply']>): Promise<boolean> => {
    const send = () => link.publish(encodeReply(to, answer, newUniqueId()), true, signal)

    if ((deadUntilMs.get(to.queue) ?? 0) > monotonicMs()) return false
    if ((await send()) === 'routed') return true
    if (waitingCount >= waitingRepliesMax) {
      return giveUp(to.queue, `${waitingCount} others wait for their queues already`)
    }
    waitingCount += 1
    try {
      const deadlineMs = monotonicMs() + options.replyRetrySeconds * 1000
      while (monotonicMs() < deadlineMs) {
        await delay(replyRetryMs, signal)
        if ((await send()) === 'routed') return true
      }
      return giveUp(to.queue, `its queue is missing since ${options.replyRetrySeconds} s`)
    } finally {
      waitingCount -= 1
    }
  }
}

/**
 * A heartbeat each half of the caller's monitor timeout, never one more than once: it tells of now.
 * Source: oslo_messaging/rpc/server.py, `_heartbeat`.
 */
async function monitorCall(
  link: PublishLink,
  to: ReplyAddress,
  signal: AbortSignal,
): Promise<void> {
  if (to.kind !== 'oslo' || to.monitorSeconds === null || to.monitorSeconds < 2) return
  const intervalMs = (to.monitorSeconds / 2) * 1000
  try {
    while (true) {
      await delay(intervalMs, signal)
      const published = await link.publishOnce(encodeHeartbeat(to, newUniqueId()), true)
      if (published === 'returned') return // Nobody listens any more.
    }
  } catch (error) {
    if (!signal.aborted) throw error
  }
}

/** 32 hex digits, as oslo makes its ids. */
export function newUniqueId(): string {
  return randomUUID().replaceAll('-', '')
}
