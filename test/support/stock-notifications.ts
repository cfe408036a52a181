import { readFileSync } from 'node:fs'
import path from 'node:path'

import type { JsonObject } from '#src/domain/json.ts'

/** A notification as Cinder's own backup service published it. */
export type StockNotification = {
  readonly eventType: string
  readonly exchange: string
  readonly routingKey: string
  readonly properties: JsonObject
  /** What is in the envelope. */
  readonly message: JsonObject
  readonly payload: JsonObject
}

const file = path.resolve(import.meta.dirname, '../samples/stock/notifications.json')

type Recorded = {
  readonly exchange: string
  readonly routing_key: string
  readonly properties: JsonObject
  readonly body: string
}

/** One of each kind; see test/samples/stock/README.md. */
export function stockNotifications(): readonly StockNotification[] {
  const recorded = JSON.parse(readFileSync(file, 'utf8')) as readonly Recorded[]
  return recorded.map(({ exchange, routing_key, properties, body }) => {
    const envelope = JSON.parse(body) as { 'oslo.message': string }
    const message = JSON.parse(envelope['oslo.message']) as JsonObject
    return {
      eventType: String(message['event_type']),
      exchange,
      routingKey: routing_key,
      properties,
      message,
      payload: message['payload'] as JsonObject,
    }
  })
}
