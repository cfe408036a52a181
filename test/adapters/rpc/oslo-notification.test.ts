import assert from 'node:assert/strict'
import { test } from 'node:test'

import { openBody } from '#src/adapters/rpc/oslo-envelope.ts'
import { encodeNotification } from '#src/adapters/rpc/oslo-notification.ts'
import type { JsonObject } from '#src/domain/json.ts'
import type { Notification } from '#src/ports/rpc.ts'
import { wireSamples } from '../../support/wire-samples.ts'

for (const sample of wireSamples('notify-')) {
  const driver = sample.name.startsWith('notify-v1') ? 'messaging' : 'messagingv2'

  test(`${sample.name} is written as it was recorded`, () => {
    const notification = notificationOf(sample.message_decoded)

    const message = encodeNotification(
      'openstack',
      'notifications',
      driver,
      'backup.backup-host-1',
      notification,
    )

    const opened = openBody(message.body, message.properties, 1e6)
    assert.deepEqual(opened.message, sample.message_decoded)
    assert.deepEqual(Object.keys(opened.message).toSorted(), keysOf(sample.message_decoded))
    assert.equal(opened.enveloped, driver === 'messagingv2')
    assert.equal(message.exchange, sample.exchange)
    assert.equal(message.routingKey, sample.routing_key)
  })
}

test('a context with a token leaves without it', () => {
  const [sample] = wireSamples('notify-v2')
  assert.ok(sample)
  const given = notificationOf(sample.message_decoded)
  const context = { ...given.context, auth_token: 'gAAAAsecret', service_catalog: [{ type: 'x' }] }

  const { body } = encodeNotification('openstack', 'notifications', 'messagingv2', 'backup.h', {
    ...given,
    context,
  })

  assert.doesNotMatch(body.toString(), /secret/)
})

test('the same notification has the same bytes each time', () => {
  const [sample] = wireSamples('notify-v2')
  assert.ok(sample)
  const encode = () => {
    const notification = notificationOf(sample.message_decoded)
    return encodeNotification('openstack', 'notifications', 'messagingv2', 'backup.h', notification)
  }

  assert.deepEqual(encode(), encode())
})

function keysOf(message: JsonObject): string[] {
  return Object.keys(message).toSorted()
}

function notificationOf(message: JsonObject): Notification {
  const context = Object.fromEntries(
    Object.entries(message)
      .filter(([key]) => key.startsWith('_context_'))
      .map(([key, value]) => [key.slice('_context_'.length), value]),
  )
  return {
    messageId: String(message['message_id']),
    uniqueId: String(message['_unique_id']),
    eventType: String(message['event_type']),
    priority: message['priority'] === 'ERROR' ? 'ERROR' : 'INFO',
    payload: message['payload'] as JsonObject,
    timestamp: String(message['timestamp']),
    context,
  }
}
