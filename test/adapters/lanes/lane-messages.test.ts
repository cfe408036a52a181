import assert from 'node:assert/strict'
import { test } from 'node:test'

import { packError, unpackError } from '#src/adapters/lanes/lane-messages.ts'
import { AgentError } from '#src/domain/errors.ts'

/** As it comes out of the other thread. */
function sent(error: unknown): AgentError {
  return unpackError(structuredClone(packError(error)))
}

test('an error comes with its code, message and context', () => {
  const context = { container: 'backups', badRanges: [{ offsetBytes: 1, lengthBytes: 2 }] }

  const error = sent(new AgentError('VOLUME_READ_FAILED', 'cannot read', context))

  assert.ok(error instanceof AgentError)
  assert.equal(error.code, 'VOLUME_READ_FAILED')
  assert.equal(error.message, 'cannot read')
  assert.deepEqual(error.context, context)
  assert.equal(error.cause, undefined)
})

test('its cause comes as text, with where it was thrown', () => {
  const cause = new TypeError('the socket is gone')

  const error = sent(new AgentError('STORE_UNAVAILABLE', 'cannot put', {}, cause))

  assert.ok(error.cause instanceof Error)
  assert.match(error.cause.message, /the socket is gone/)
  assert.match(
    error.cause.stack ?? '',
    /TypeError: the socket is gone\n\s+at .*lane-messages\.test/,
  )
})

test('a defect comes with where it was thrown', () => {
  for (const thrown of [new AgentError('ASSERTION_FAILED', 'never'), new RangeError('never')]) {
    const error = sent(thrown)

    assert.equal(error.code, 'ASSERTION_FAILED')
    assert.match(error.message, /never$/)
    assert.match((error.cause as Error).stack ?? '', /lane-messages\.test/)
  }
})

test('whatever was thrown comes as an error', () => {
  for (const thrown of ['text', null, 5, { some: 'object' }]) {
    assert.equal(sent(thrown).code, 'ASSERTION_FAILED')
  }
})
