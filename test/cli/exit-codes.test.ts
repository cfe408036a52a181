import assert from 'node:assert/strict'
import { test } from 'node:test'

import { errorsThatEndIn, exitCodeOf, exitCodes } from '#src/cli/exit-codes.ts'
import { errorCodes } from '#src/domain/errors.ts'

test('every error code ends in one exit code, and none in success', () => {
  const exits = Object.keys(exitCodes) as (keyof typeof exitCodes)[]

  const listed = exits.flatMap((exit) => errorsThatEndIn(exit)).toSorted()

  assert.deepEqual(listed, errorCodes.toSorted())
  assert.deepEqual(errorsThatEndIn('ok'), [])
})

test('the numbers are those that scripts rely on', () => {
  assert.equal(exitCodeOf('BACKUP_NOT_FOUND'), 10)
  assert.equal(exitCodeOf('JOURNAL_LOCKED'), 11)
  assert.equal(exitCodeOf('TOKEN_EXPIRED'), 12)
  assert.equal(exitCodeOf('PROJECT_MISMATCH'), 13)
  assert.equal(exitCodeOf('CHUNK_CORRUPT'), 14)
  assert.equal(exitCodeOf('VOLUME_READ_FAILED'), 15)
  assert.equal(exitCodeOf('STORE_UNAVAILABLE'), 16)
  assert.equal(exitCodeOf('CONFIGURATION_INVALID'), 17)
  assert.equal(exitCodeOf('OPERATION_CANCELLED'), 130)
})
