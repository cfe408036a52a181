import assert from 'node:assert/strict'
import { test } from 'node:test'

import { deviceWait } from '#src/operations/device-wait.ts'
import { aDevice } from '../support/builders.ts'

const never = new AbortController().signal

/** The places of a job: what was done with them, in order. */
function places(rise: (signal: AbortSignal) => Promise<void> = async () => undefined) {
  const done: string[] = []
  return {
    done,
    rest: () => void done.push('rest'),
    async rise(signal: AbortSignal) {
      done.push('rise')
      await rise(signal)
    },
  }
}

test('a device that is known already is given at once, and nobody gives up a place for it', async () => {
  const at = places()
  const device = aDevice()
  const wait = deviceWait(at, device)

  assert.equal(await wait.take(60_000, never), device)

  const later = deviceWait(at, null)
  later.put(device)
  assert.equal(await later.take(60_000, never), device)
  assert.deepEqual(at.done, [])
})

test('a device that comes while it is waited for is given, once there is a place again', async () => {
  const at = places()
  const device = aDevice()
  const wait = deviceWait(at, null)
  const taken = wait.take(60_000, never)
  assert.deepEqual(at.done, ['rest'])

  wait.put(device)

  assert.equal(await taken, device)
  assert.deepEqual(at.done, ['rest', 'rise'])
})

test('one that does not come in its time is none, and the job has its place back', async () => {
  const at = places()

  assert.equal(await deviceWait(at, null).take(0.5, never), null)

  assert.deepEqual(at.done, ['rest', 'rise'])
})

test('who stops waiting is told why, with its place back', async () => {
  const at = places()
  const end = new AbortController()
  const taken = deviceWait(at, null).take(60_000, end.signal)

  end.abort(new Error('enough'))

  await assert.rejects(taken, /^Error: enough$/)
  assert.deepEqual(at.done, ['rest', 'rise'])
})
