import assert from 'node:assert/strict'
import { test } from 'node:test'

import { openBody } from '#src/adapters/rpc/oslo-envelope.ts'
import { openReply } from '#src/adapters/rpc/oslo-reply.ts'
import { encodeCall, replyAddressOf, requestOf } from '#src/adapters/rpc/oslo-request.ts'
import { isJsonObject } from '#src/domain/json.ts'
import { wireSample, wireSamples } from '../../support/wire-samples.ts'

// Calls as Python sends them, and answers as Python gives them.

const calls = [...wireSamples('rpc-call-'), ...wireSamples('rpc-volume-')].filter(
  // The ping says no version, and asking for a device is a cast.
  ({ message_decoded: { _msg_id, version } }) => _msg_id !== undefined && version !== undefined,
)

test('calls to cinder-volume and to cinder-backup were recorded', () => {
  const methods = calls.map(({ message_decoded }) => message_decoded['method'])

  for (const method of ['export_record', 'initialize_connection', 'terminate_connection']) {
    assert.ok(methods.includes(method), method)
  }
})

for (const { name, exchange, routing_key: key, properties, message_decoded: message } of calls) {
  test(`${name} is written as it was recorded`, () => {
    const body = Buffer.from('{}')
    const opened = { message, body, redelivered: false, source: 'server', replyTo: null } as const
    const { method, version, namespace, args, context } = requestOf(opened)
    const replyTo = replyAddressOf(message, {}, true)
    assert.ok(replyTo !== null)
    const [topic = '', ...server] = key.split(/\.(?=[^.]*$)/)
    const reply = {
      replyTo,
      uniqueId: String(message['_unique_id']),
      lifeMs: Number(properties['expiration']),
    }

    const sent = encodeCall(
      exchange,
      { topic, server: server[0] ?? null },
      { method, version, namespace, args, context },
      reply,
    )

    assert.deepEqual([sent.exchange, sent.routingKey], [exchange, key])
    assert.deepEqual(openBody(sent.body, sent.properties, 1e6), { message, enveloped: true })
    const { contentType, contentEncoding, deliveryMode, messageId, ...same } = sent.properties
    assert.equal(messageId, message['_unique_id'])
    assert.deepEqual(
      {
        ...same,
        content_type: contentType,
        content_encoding: contentEncoding,
        delivery_mode: deliveryMode,
      },
      properties,
    )
  })
}

test('a namespace goes along, and a life that is over or endless is one that the broker takes', () => {
  const context = requestOf({
    message: { method: 'a' },
    body: Buffer.from('{}'),
    redelivered: false,
    source: 'topic',
    replyTo: null,
  }).context
  const replyTo = { kind: 'oslo', queue: 'q', msgId: 'm', monitorSeconds: null } as const
  const call = { method: 'a', version: '1.0', namespace: 'n', args: {}, context }
  const sent = (lifeMs: number) =>
    encodeCall('e', { topic: 't', server: null }, call, { replyTo, uniqueId: 'u', lifeMs })

  const { body, properties } = sent(0.5)

  assert.equal(openBody(body, properties, 1e6).message['namespace'], 'n')
  assert.equal(properties.expiration, '1')
  assert.equal(sent(-7).properties.expiration, '1')
  assert.equal(sent(1e12).properties.expiration, String(2 ** 32 - 1))
})

for (const { name, body_raw, message_decoded, failure_decoded } of [
  ...wireSamples('rpc-reply-'),
  wireSample('v18-reply'),
]) {
  test(`${name} is read as the answer that it is`, () => {
    const reply = openReply(Buffer.from(body_raw), { contentType: 'application/json' }, 1e6)

    const { result: decoded, ending, _msg_id, _unique_id } = message_decoded
    // What JSON cannot carry is read as null.
    const result = isJsonObject(decoded) && 'nan' in decoded ? { ...decoded, nan: null } : decoded
    assert.deepEqual(
      { ...reply, failure: null },
      { msgId: _msg_id, uniqueId: _unique_id, result: result ?? null, ending, failure: null },
    )
    const { remoteClass, remoteModule, remoteMessage } = reply.failure ?? {}
    const { class: known, module, message } = failure_decoded ?? {}
    assert.deepEqual([remoteClass, remoteModule, remoteMessage], [known, module, message])
  })
}
