import assert from 'node:assert/strict'
import { test } from 'node:test'

import { openBody } from '#src/adapters/rpc/oslo-envelope.ts'
import {
  encodeCast,
  lacksReplyQueue,
  replyAddressOf,
  requestOf,
} from '#src/adapters/rpc/oslo-request.ts'
import type { JsonObject } from '#src/domain/json.ts'
import type { ReplyAddress, RpcRequest } from '#src/ports/rpc.ts'
import { wireSample, wireSamples } from '../../support/wire-samples.ts'

const body = Buffer.from('{}')

function requestFrom(message: JsonObject): RpcRequest {
  return requestOf({ message, body, redelivered: false, source: 'topic', replyTo: null })
}

for (const { name, message_decoded: message } of wireSamples('rpc-ca')) {
  test(`${name} is read as the request that it is`, () => {
    const { method, args, version, uniqueId, context } = requestFrom(message)

    assert.equal(method, message['method'])
    assert.deepEqual(args, message['args'])
    assert.equal(version, message['version'] ?? '1.0')
    assert.equal(uniqueId, message['_unique_id'])
    assert.equal(context.requestId, message['_context_request_id'])
    assert.equal(context.projectId, message['_context_project_id'])
    assert.equal(context.authToken, message['_context_auth_token'])
    assert.deepEqual(context.serviceCatalog, message['_context_service_catalog'])
  })
}

test("the context keeps every value but the token, the catalogue and a profiler's key", () => {
  const { message_decoded: message } = wireSample('rpc-cast-create_backup')
  const more = { _context_custom: [1], _context_trace_info: { hmac_key: 'SECRET' } }
  const { values } = requestFrom({ ...message, ...more }).context

  const sent = Object.keys(message).filter((key) => key.startsWith('_context_'))
  assert.equal(Object.keys(values).length, sent.length - 2 + 1)
  assert.deepEqual(values['custom'], [1])
  assert.equal(values['trace_info'], undefined)
  assert.equal(values['auth_token'], undefined)
  assert.equal(values['service_catalog'], undefined)
})

test('a message of hardly anything gets the defaults of oslo', () => {
  const request = requestFrom({ method: 'a' })

  assert.deepEqual(request.args, {})
  assert.equal(request.version, '1.0')
  assert.equal(request.namespace, null)
  assert.equal(request.uniqueId, null)
  assert.match(request.context.requestId, /^req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
  assert.equal(request.context.isAdmin, false)
  assert.equal(request.context.authToken, null)
  assert.deepEqual(request.context.serviceCatalog, [])
  assert.equal(requestFrom({ method: 'a' }).context.requestId, request.context.requestId)
})

test('a context of wrong types is read as if those values were missing', () => {
  const { context } = requestFrom({
    method: 'a',
    _context_auth_token: 7,
    _context_is_admin: 'yes',
    _context_user_id: ['x'],
    _context_service_catalog: [1, { type: 2 }, { type: 'object-store', endpoints: [{ a: 1 }, 2] }],
  })

  assert.equal(context.authToken, null)
  assert.equal(context.isAdmin, false)
  assert.equal(context.userId, null)
  assert.deepEqual(context.serviceCatalog, [{ type: 'object-store', name: null, endpoints: [{}] }])
})

const addresses: readonly [string, JsonObject, object, ReplyAddress | null][] = [
  ['a cast', {}, {}, null],
  [
    'a call',
    { _msg_id: 'm', _reply_q: 'q', _timeout: null },
    {},
    { kind: 'oslo', queue: 'q', msgId: 'm', monitorSeconds: null },
  ],
  [
    'a monitored call',
    { _msg_id: 'm', _reply_q: 'q', _timeout: 4 },
    { replyTo: 'ignored' },
    { kind: 'oslo', queue: 'q', msgId: 'm', monitorSeconds: 4 },
  ],
  [
    'a call whose timeout is text',
    { _msg_id: 'm', _reply_q: 'q', _timeout: '4' },
    {},
    { kind: 'oslo', queue: 'q', msgId: 'm', monitorSeconds: null },
  ],
  [
    'a call whose timeout is no whole number',
    { _msg_id: 'm', _reply_q: 'q', _timeout: 2.5 },
    {},
    { kind: 'oslo', queue: 'q', msgId: 'm', monitorSeconds: null },
  ],
  ['a call without a queue', { _msg_id: 'm' }, {}, null],
  [
    'a message with reply_to',
    {},
    { replyTo: 'q', correlationId: 'c' },
    { kind: 'amqp', queue: 'q', correlationId: 'c', enveloped: true },
  ],
  [
    'a message with reply_to alone',
    {},
    { replyTo: 'q' },
    { kind: 'amqp', queue: 'q', correlationId: null, enveloped: true },
  ],
]

for (const [what, message, properties, expected] of addresses) {
  test(`${what} is answered at ${expected?.kind ?? 'no'} address`, () => {
    assert.deepEqual(replyAddressOf(message, properties, true), expected)
    assert.equal(lacksReplyQueue(message), what === 'a call without a queue')
  })
}

const refused: readonly [string, JsonObject][] = [
  ['no method', { args: {} }],
  ['a method that is no text', { method: 7 }],
  ['arguments that are a list', { method: 'a', args: [] }],
  ['arguments that are text', { method: 'a', args: '{}' }],
]

for (const [what, message] of refused) {
  test(`a request with ${what} is MESSAGE_MALFORMED`, () => {
    assert.throws(() => requestFrom(message), { code: 'MESSAGE_MALFORMED' })
  })
}

test('a request that is passed on arrives as it came', () => {
  const sample = wireSample('rpc-call-monitored')
  const replyTo = replyAddressOf(sample.message_decoded, {}, true)
  const { method, args, version, context, uniqueId } = requestFrom(sample.message_decoded)

  const cast = { method, args, version, context, uniqueId: String(uniqueId), replyTo }
  const message = encodeCast('openstack', { topic: 'cinder-backup', server: 'host-2' }, cast)

  assert.equal(message.exchange, 'openstack')
  assert.equal(message.routingKey, 'cinder-backup.host-2')
  assert.deepEqual(openBody(message.body, message.properties, 1e6).message, sample.message_decoded)
  const again = encodeCast('openstack', { topic: 'cinder-backup', server: 'host-2' }, cast)
  assert.deepEqual(again, message)
})

test('a bare request that is passed on stays bare, with its reply_to', () => {
  const replyTo: ReplyAddress = { kind: 'amqp', queue: 'q', correlationId: 'c', enveloped: false }
  const { method, args, version, context } = requestFrom({ method: 'delete_backup' })

  const { body: sent, properties } = encodeCast(
    'openstack',
    { topic: 'cinder-backup', server: 'host-2' },
    { method, args, version, context, uniqueId: 'u', replyTo },
  )

  const { message, enveloped } = openBody(sent, properties, 1e6)
  assert.deepEqual(replyAddressOf(message, properties, enveloped), replyTo)
})
