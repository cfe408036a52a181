import assert from 'node:assert/strict'
import { test } from 'node:test'

import { openBody } from '#src/adapters/rpc/oslo-envelope.ts'
import { encodeHeartbeat, encodeReply } from '#src/adapters/rpc/oslo-reply.ts'
import { AgentError, type ErrorCode, errorCodes } from '#src/domain/errors.ts'
import type { Answer, ReplyAddress } from '#src/ports/rpc.ts'
import { wireSample } from '../../support/wire-samples.ts'

function addressOf(sampleName: string): Extract<ReplyAddress, { kind: 'oslo' }> {
  const { routing_key: queue, message_decoded: message } = wireSample(sampleName)
  return { kind: 'oslo', queue, msgId: String(message['_msg_id']), monitorSeconds: 4 }
}

for (const name of ['rpc-reply-true', 'rpc-reply-null', 'rpc-reply-pong', 'rpc-reply-heartbeat']) {
  test(`${name} is written as it was recorded`, () => {
    const sample = wireSample(name)
    const { result, ending, _unique_id } = sample.message_decoded
    const to = addressOf(name)
    const uniqueId = String(_unique_id)

    const message =
      ending === true
        ? encodeReply(to, { result: result ?? null }, uniqueId)
        : encodeHeartbeat(to, uniqueId)

    const { message: written } = openBody(message.body, message.properties, 1e6)
    assert.deepEqual(written, sample.message_decoded)
    assert.equal(message.exchange, '')
    assert.equal(message.routingKey, sample.routing_key)
    const { messageId, ...properties } = message.properties
    assert.equal(messageId, uniqueId)
    assert.deepEqual(snakeCase(properties), sample.properties)
  })
}

const recorded: readonly [string, AgentError][] = [
  [
    'rpc-reply-failure-NoSuchMethod',
    new AgentError('METHOD_UNKNOWN', 'no such method', { method: 'frobnicate' }),
  ],
  [
    'rpc-reply-failure-UnsupportedVersion',
    new AgentError('VERSION_UNSUPPORTED', 'too new', { method: 'create_backup', version: '3.1' }),
  ],
  [
    'rpc-reply-failure-BackupNotFound',
    new AgentError(
      'BACKUP_NOT_FOUND',
      'Backup 11111111-2222-4333-8444-555555555555 could not be found.',
    ),
  ],
]

for (const [name, error] of recorded) {
  test(`${error.code} reaches a Python caller as ${name} did`, () => {
    const expected = JSON.parse(String(wireSample(name).message_decoded['failure']))

    const failure = failureIn({ failure: error })

    assert.equal(failure.class, expected.class)
    assert.equal(failure.module, expected.module)
    assert.equal(failure.message, expected.message)
    assert.deepEqual(failure.args, expected.args)
    assert.equal(failure.kwargs.code, expected.kwargs.code)
    assert.equal(failure.tb.at(-1), expected.tb.at(-1))
  })
}

const remote: readonly [ErrorCode, string, number | undefined][] = [
  ['ARGUMENT_MISSING', 'builtins.TypeError', undefined],
  ['ARGUMENT_INVALID', 'cinder.exception.InvalidInput', 400],
  ['BACKUP_INVALID_STATE', 'cinder.exception.InvalidBackup', 400],
  ['PROJECT_MISMATCH', 'cinder.exception.NotAuthorized', 403],
  ['VOLUME_NOT_FOUND', 'cinder.exception.VolumeNotFound', 404],
  ['VOLUME_TOO_SMALL', 'cinder.exception.InvalidVolume', 400],
  ['STORE_FULL', 'cinder.exception.BackupDriverException', 500],
  ['ASSERTION_FAILED', 'builtins.RuntimeError', undefined],
]

for (const [code, name, status] of remote) {
  test(`${code} is raised as ${name}`, () => {
    const failure = failureIn({ failure: new AgentError(code, 'words') })

    assert.equal(`${failure.module}.${failure.class}`, name)
    assert.equal(failure.kwargs.code, status)
    assert.equal(failure.error_code, code)
  })
}

test('every error of ours becomes a failure with a traceback of two short lines', () => {
  for (const code of errorCodes) {
    const error = new AgentError(code, 'x'.repeat(100_000), {}, new Error('beneath'))
    const failure = failureIn({ failure: error })
    assert.equal(failure.tb.length, 2)
    assert.ok(failure.tb.every((line: string) => line.endsWith('\n') && line.length < 2_200))
  }
})

test('a result that is no JSON is answered as a failure, never by silence', () => {
  const circular: { self?: unknown } = {}
  circular.self = circular

  const failure = failureIn({ result: circular } as unknown as Answer)

  assert.equal(failure.error_code, 'ASSERTION_FAILED')
})

for (const enveloped of [true, false]) {
  test(`an amqp caller is answered ${enveloped ? 'in an' : 'without'} envelope`, () => {
    const to: ReplyAddress = { kind: 'amqp', queue: 'q', correlationId: 'c', enveloped }
    const error = new AgentError('ARGUMENT_INVALID', 'words')

    const done = encodeReply(to, { result: { accepted: true } }, 'u')
    const refused = encodeReply(to, { failure: error }, 'u')

    assert.deepEqual(openBody(done.body, done.properties, 1e6), {
      message: { result: { accepted: true }, failure: null },
      enveloped,
    })
    assert.equal(done.properties.correlationId, 'c')
    const { failure } = openBody(refused.body, refused.properties, 1e6).message
    assert.equal((failure as { error_code?: unknown }).error_code, 'ARGUMENT_INVALID')
  })
}

function failureIn(answer: Answer) {
  const message = encodeReply(addressOf('rpc-reply-true'), answer, 'u')
  const { failure, result, ending } = openBody(message.body, message.properties, 1e6).message
  assert.equal(result, null)
  assert.equal(ending, true)
  assert.equal(typeof failure, 'string')
  return JSON.parse(String(failure))
}

function snakeCase(properties: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(properties).map(([key, value]) => [
      key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      value,
    ]),
  )
}
