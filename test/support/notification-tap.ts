import type { TestContext } from 'node:test'

import { connect, type MessageProperties } from 'amqplib'

import type { JsonObject } from '#src/domain/json.ts'
import { eventually } from './rabbit.ts'

/** A notification as it lay in the queue. */
export type TappedNotification = {
  readonly exchange: string
  readonly routingKey: string
  readonly properties: MessageProperties
  readonly body: Buffer
  readonly isEnveloped: boolean
  /** What is in the envelope, or the body where there is none. */
  readonly message: JsonObject
  readonly payload: JsonObject
}

export type NotificationTap = {
  /** All so far, in the order of their coming. */
  readonly heard: readonly TappedNotification[]
  ofBackup(backupId: string): readonly TappedNotification[]
  /** Those of a backup once there are `count` of this type among them. */
  until(backupId: string, eventType: string, count?: number): Promise<readonly TappedNotification[]>
}

const patienceMs = 60_000

/**
 * Takes notifications as raw AMQP messages: its own queue, so that nobody else's are taken. `onHeard`
 * is called with each as it comes.
 */
export async function tapNotifications(
  owner: Pick<TestContext, 'after'>,
  amqpUrl: string,
  onHeard: (notification: TappedNotification) => void = () => {},
): Promise<NotificationTap> {
  const connection = await connect(amqpUrl)
  connection.on('error', () => {}) // Its virtual host may go before it.
  owner.after(() => connection.close().catch(() => {}))
  const channel = await connection.createChannel()
  await channel.assertExchange('openstack', 'topic', { durable: false })
  const { queue } = await channel.assertQueue('', { exclusive: true })
  await channel.bindQueue(queue, 'openstack', 'notifications.*')
  const heard: TappedNotification[] = []
  await channel.consume(
    queue,
    (delivery) => {
      if (delivery === null) return
      const outer = JSON.parse(delivery.content.toString()) as JsonObject
      const inner = outer['oslo.message']
      const message = typeof inner === 'string' ? (JSON.parse(inner) as JsonObject) : outer
      const notification = {
        exchange: delivery.fields.exchange,
        routingKey: delivery.fields.routingKey,
        properties: delivery.properties,
        body: delivery.content,
        isEnveloped: typeof inner === 'string',
        message,
        payload: message['payload'] as JsonObject,
      }
      heard.push(notification)
      onHeard(notification)
    },
    { noAck: true },
  )
  const ofBackup = (backupId: string) =>
    heard.filter(({ payload }) => payload['backup_id'] === backupId)
  return {
    heard,
    ofBackup,
    async until(backupId, eventType, count = 1) {
      const isThere = () => ofType(ofBackup(backupId), eventType).length >= count
      await eventually(isThere, `${count} ${eventType} of ${backupId}`, patienceMs)
      return ofBackup(backupId)
    },
  }
}

export function ofType(
  events: readonly TappedNotification[],
  eventType: string,
): readonly TappedNotification[] {
  return events.filter(({ message }) => message['event_type'] === eventType)
}
