import assert from 'node:assert/strict'
import { test } from 'node:test'

import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { AgentError } from '#src/domain/errors.ts'
import { watchStore } from '#src/operations/watch-store.ts'

test('a store that does not answer at the start is told of once, and watched on', async () => {
  const log = recordingLog()
  const stop = new AbortController()
  const away = new AgentError('STORE_UNAVAILABLE', 'made up')
  const probe = async () => {
    queueMicrotask(() => setImmediate(() => stop.abort()))
    throw away
  }

  await watchStore(probe, log, stop.signal)

  assert.deepEqual(
    log.lines.map(({ level, message }) => [level, message]),
    [['warn', 'the store does not answer, asking on']],
  )
})

test('a store that answers is told of once; one that cannot be asked, too', async () => {
  const log = recordingLog()
  const stop = new AbortController()

  await watchStore(async () => setImmediate(() => stop.abort()), log, stop.signal)
  await watchStore(null, log, AbortSignal.abort())

  assert.deepEqual(
    log.lines.map(({ message }) => message),
    ['the store answers', 'the store is not watched: its address comes with each request'],
  )
})
