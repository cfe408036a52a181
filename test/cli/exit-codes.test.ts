import assert from 'node:assert/strict'
import { test } from 'node:test'

import { errorsThatEndIn, exitCodeFor, exitCodeOf, exitCodes } from '#src/cli/exit-codes.ts'
import { AgentError, errorCodes } from '#src/domain/errors.ts'
import { callFailed } from '#src/domain/remote-failure.ts'

test('every error code ends in one exit code, and none in success', () => {
  const exits = Object.keys(exitCodes) as (keyof typeof exitCodes)[]

  const listed = exits.flatMap((exit) => errorsThatEndIn(exit)).toSorted()

  assert.deepEqual(listed, errorCodes.toSorted())
  assert.deepEqual(errorsThatEndIn('ok'), [])
})

test('the numbers are those that scripts rely on', () => {
  assert.equal(exitCodeOf('BACKUP_NOT_FOUND'), 10)
  assert.equal(exitCodeOf('JOURNAL_LOCKED'), 11)
  assert.equal(exitCodeOf('HOST_TAKEN'), 11)
  assert.equal(exitCodeOf('TOKEN_EXPIRED'), 12)
  assert.equal(exitCodeOf('PROJECT_MISMATCH'), 13)
  assert.equal(exitCodeOf('CHUNK_CORRUPT'), 14)
  assert.equal(exitCodeOf('VOLUME_READ_FAILED'), 15)
  assert.equal(exitCodeOf('STORE_UNAVAILABLE'), 16)
  assert.equal(exitCodeOf('CONFIGURATION_INVALID'), 17)
  assert.equal(exitCodeOf('OPERATION_CANCELLED'), 130)
})

const remote: readonly [string, number][] = [
  ['InvalidBackup', 13],
  ['BackupNotFound', 10],
  ['VolumeNotFound', 15],
  ['UnsupportedVersion', 13],
  ['TypeError', 2],
  ['ValueError', 1],
  ['constructor', 1],
]
for (const [remoteClass, number] of remote) {
  test(`a ${remoteClass} of a service that was called ends with ${number}`, () => {
    const told = { remoteModule: 'm', remoteMessage: 'no', remoteCode: null }

    assert.equal(exitCodeFor(callFailed('a call', { remoteClass, ...told })), number)
  })
}

test('a failure of our own ends with the number of its code', () => {
  assert.equal(exitCodeFor(new AgentError('CHUNK_CORRUPT', 'made up')), 14)
})
