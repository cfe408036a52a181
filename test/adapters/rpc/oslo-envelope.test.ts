import assert from 'node:assert/strict'
import { test } from 'node:test'

import { bareBody, closeEnvelope, openBody } from '#src/adapters/rpc/oslo-envelope.ts'
import { wireSamples } from '../../support/wire-samples.ts'

const bytesMax = 4 * 1024 * 1024
const json = { contentType: 'application/json', contentEncoding: 'utf-8', headers: {} }

const open = (body: string | Uint8Array, properties: object = json) =>
  openBody(Buffer.from(body), properties, bytesMax)

for (const prefix of ['rpc-', 'notify-', 'v18-']) {
  for (const { name, body_raw, message_decoded, envelope_version } of wireSamples(prefix)) {
    test(`${name} opens to what was sent, and closes to the same`, () => {
      // A NaN has no place in JSON: we read it as null, the recording shows it as a word.
      const expected = JSON.parse(JSON.stringify(message_decoded).replace(/"<NaN[^"]*"/, 'null'))

      const { message, enveloped } = open(body_raw)

      assert.deepEqual(message, expected)
      assert.equal(enveloped, envelope_version !== null)
      const again = enveloped ? closeEnvelope(message) : bareBody(message)
      assert.deepEqual(open(again), { message: expected, enveloped })
    })
  }
}

const enveloped = (inner: string) =>
  JSON.stringify({ 'oslo.version': '2.0', 'oslo.message': inner })

const accepted: readonly [string, string, object][] = [
  ['a message without an envelope', '{"method": "a"}', { method: 'a' }],
  ['blanks around the body', ' \n\t{"method": "a"} \n', { method: 'a' }],
  ['a byte order mark', '\uFEFF{"method": "a"}', { method: 'a' }],
  ['raw UTF-8', '{"name": "é☃😀"}', { name: 'é☃😀' }],
  ['escaped text', '{"name": "\\u00e9\\u2603\\ud83d\\ude00"}', { name: 'é☃😀' }],
  ['NaN and infinities', '{"a": [NaN, -Infinity, Infinity]}', { a: [null, null, null] }],
  ['NaN inside an envelope', enveloped('{"a": NaN}'), { a: null }],
  ['the word NaN in a string beside a bare one', '{"a": "NaN", "b": NaN}', { a: 'NaN', b: null }],
  ['integers of any size', '{"a": 9223372036854775809}', { a: Number('9223372036854775809') }],
]

for (const [what, body, expected] of accepted) {
  test(`${what} is read`, () => {
    assert.deepEqual(open(body).message, expected)
  })
}

const refused: readonly [string, string | Uint8Array, RegExp, object?][] = [
  ['an envelope of version 2.1', '{"oslo.version": "2.1", "oslo.message": "{}"}', /version "2.1"/],
  ['an envelope of version 1.0', '{"oslo.version": "1.0", "oslo.message": "{}"}', /version "1.0"/],
  ['an envelope of version 3.0', '{"oslo.version": "3.0", "oslo.message": "{}"}', /version "3.0"/],
  ['a version that is a number', '{"oslo.version": 2.0, "oslo.message": "{}"}', /version 2,/],
  ['an object in the envelope', '{"oslo.version": "2.0", "oslo.message": {}}', /not text/],
  ['a list', '[1, 2]', /not a JSON object/],
  ['a number', '7', /not a JSON object/],
  ['null', 'null', /not a JSON object/],
  ['broken JSON', '{"method": ', /not JSON/],
  ['broken JSON in the envelope', enveloped('{"method": '), /enveloped message is not JSON/],
  ['an empty body', '', /not JSON/],
  ['what is not UTF-8', Uint8Array.of(0x7b, 0xff, 0x7d), /not UTF-8/],
  ['nesting without end', '['.repeat(100_000), /nests deeper/],
  ['text/plain', '{"method": "a"}', /content type "text\/plain"/, { contentType: 'text/plain' }],
  ['gzip', '{"method": "a"}', /content encoding "gzip"/, { ...json, contentEncoding: 'gzip' }],
  [
    'a compressed body',
    'x',
    /unset kombu_compression/,
    { ...json, headers: { compression: 'application/x-gzip' } },
  ],
]

for (const [what, body, message, properties] of refused) {
  test(`${what} is refused as MESSAGE_MALFORMED`, () => {
    assert.throws(() => open(body, properties), { code: 'MESSAGE_MALFORMED', message })
  })
}

test('a body over the limit is refused before it is read', () => {
  const body = Buffer.from('not even JSON')

  assert.throws(() => openBody(body, json, body.byteLength - 1), { code: 'MESSAGE_TOO_LARGE' })
  assert.throws(() => openBody(body, json, body.byteLength), { code: 'MESSAGE_MALFORMED' })
})

test('an error quotes nothing of a body, which may hold a token', () => {
  const body = '{"_context_auth_token": "gAAAAABsecret" oops'

  assert.throws(
    () => open(body),
    (error: Error) => !error.message.includes('secret') && !String(error.cause).includes('secret'),
  )
})

test('a message without a content type is taken as JSON', () => {
  assert.deepEqual(open('{"method": "a"}', {}).message, { method: 'a' })
})

for (const key of ['__proto__', '\\u005f_proto__', '__prot\\u006f__']) {
  test(`a key ${key} gives no copy of the message another prototype`, () => {
    const { message } = open(`{"args": {"${key}": {"isAdmin": true}, "kept": 1}}`)

    const args = message['args'] as object
    assert.deepEqual(Object.keys(args), ['kept'])
    assert.equal(Object.hasOwn(Object.assign({}, args), 'isAdmin'), false)
    assert.equal((Object.assign({}, args) as { isAdmin?: unknown }).isAdmin, undefined)
  })
}

test('the largest message with such a key takes less than a second to read', () => {
  const body = Buffer.from(`{"__proto__": 1, "a": [${'[],'.repeat(1_398_000)}[]]}`)
  const open = () => {
    const before = process.cpuUsage()
    openBody(body, json, 4 * 2 ** 20)
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1e6
  }

  assert.ok(Math.min(open(), open(), open()) < 1)
})

test('the deepest chain of ancestors that we serve is not too deep', () => {
  let backup = '{}'
  for (let ancestor = 0; ancestor < 1_001; ancestor += 1) {
    backup = `{"versioned_object.data": {"parent": ${backup}}}`
  }

  open(enveloped(`{"method": "a", "args": {"backup": ${backup}}}`))
})
