import type { JsonObject } from '../../domain/json.ts'
import type { Notification } from '../../ports/rpc.ts'
import { bareBody, closeEnvelope, type OutgoingMessage, osloProperties } from './oslo-envelope.ts'
import { prefixed } from './oslo-request.ts'

/** The drivers that put something on the bus. Source: oslo_messaging/notify/messaging.py. */
export type NotificationDriver = 'messaging' | 'messagingv2'

/** Where `priority` of `topic` goes: `notifications.info`; the queue has the same name. */
function notificationQueue(topic: string, priority: Notification['priority']): string {
  return `${topic}.${priority.toLowerCase()}`
}

/**
 * One copy of a notification, the same bytes each time. The context never carries a token or a
 * catalogue, whatever it was given. Source: oslo_messaging/notify/notifier.py.
 */
export function encodeNotification(
  exchange: string,
  topic: string,
  driver: NotificationDriver,
  publisherId: string,
  notification: Notification,
): OutgoingMessage {
  const { messageId, eventType, priority, payload, timestamp, uniqueId, context } = notification
  const message: JsonObject = {
    message_id: messageId,
    publisher_id: publisherId,
    event_type: eventType,
    priority,
    payload,
    timestamp,
    _unique_id: uniqueId,
    ...prefixed({ ...context, auth_token: null, service_catalog: [] }),
  }
  return {
    exchange,
    routingKey: notificationQueue(topic, priority),
    body: driver === 'messagingv2' ? closeEnvelope(message) : bareBody(message),
    properties: osloProperties,
  }
}
