import assert from 'node:assert/strict'
import { test } from 'node:test'

import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { AgentError } from '#src/domain/errors.ts'
import { watchStore } from '#src/operations/watch-store.ts'

test('a store that does not answer at the start is told of once, and watched on', async () => {
  const log = recordingLog()
  const stop = new AbortController()
  const told: boolean[] = []
  const away = new AgentError('STORE_UNAVAILABLE', 'made up')
  const probe = async () => {
    queueMicrotask(() => setImmediate(() => stop.abort()))
    throw away
  }

  await watchStore({ probe, log, onChange: (isThere) => told.push(isThere) }, stop.signal)

  assert.deepEqual(
    log.lines.map(({ level, message }) => [level, message]),
    [['warn', 'the store does not answer, asking on']],
  )
  assert.deepEqual(told, [false])
})

test('a store that answers is told of once; one that cannot be asked, too', async () => {
  const log = recordingLog()
  const told: boolean[] = []
  const onChange = (isThere: boolean) => told.push(isThere)
  const stop = new AbortController()
  const probe = async () => setImmediate(() => stop.abort())

  await watchStore({ probe, log, onChange }, stop.signal)
  await watchStore({ probe: null, log, onChange }, AbortSignal.abort())

  assert.deepEqual(
    log.lines.map(({ message }) => message),
    ['the store answers', 'the store is not watched: its address comes with each request'],
  )
  assert.deepEqual(told, [true])
})
