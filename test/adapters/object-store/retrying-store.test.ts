import assert from 'node:assert/strict'
import { test } from 'node:test'

import { memoryStore } from '#src/adapters/object-store/memory-store.ts'
import { retryingStore, type StoreRetry } from '#src/adapters/object-store/retrying-store.ts'
import { AgentError, type ErrorCode } from '#src/domain/errors.ts'
import { testObjectStore } from '../../contracts/object-store.ts'
import { faultyStore } from '../../support/faulty-store.ts'

const signal = AbortSignal.timeout(60_000)
const id = { container: 'backups', name: 'a-00001' }
const policy = { attemptsMin: 4, backoffMs: 1, budgetMs: 0 }

async function opened(options: Partial<typeof policy> = {}) {
  const faulty = faultyStore(memoryStore())
  const retries: StoreRetry[] = []
  const store = retryingStore(faulty.store, {
    ...policy,
    ...options,
    onRetry: (retry) => retries.push(retry),
  })
  await store.ensureContainer('backups', signal)
  return { faulty, store, retries }
}

testObjectStore('retryingStore', async () => ({
  store: retryingStore(memoryStore(), { ...policy, onRetry: () => {} }),
  container: 'backups',
}))

test('a put that fails three times with STORE_UNAVAILABLE succeeds at the fourth try', async () => {
  const { faulty, store, retries } = await opened()
  faulty.fail('putObject', new AgentError('STORE_UNAVAILABLE', 'swift answered 503'), 3)

  await store.putObject(id, Buffer.from('chunk'), signal)

  assert.deepEqual(faulty.unfired(), [])
  assert.deepEqual(
    retries.map(({ call, attemptNumber }) => [call.method, call.name, attemptNumber]),
    [1, 2, 3].map((attemptNumber) => ['putObject', 'a-00001', attemptNumber]),
  )
})

test('an outage that outlasts tries and budget says how often it was tried', async () => {
  const { faulty, store } = await opened()
  const error = new AgentError('STORE_UNAVAILABLE', 'put a: swift answered 503', { status: 503 })
  faulty.fail('putObject', error, 4)

  await assert.rejects(store.putObject(id, Buffer.of(1), signal), {
    code: 'STORE_UNAVAILABLE',
    message: 'put a: swift answered 503, at the last of 4 tries',
    context: { status: 503, attempts: 4 },
    cause: error,
  })
  assert.deepEqual(faulty.unfired(), [])
})

test('the budget goes on after the tries', async () => {
  const { faulty, store } = await opened({ budgetMs: 60_000 })
  faulty.fail('listPage', new AgentError('STORE_UNAVAILABLE', 'swift answered 503'), 9)

  assert.deepEqual(await store.listPage('backups', '', '', signal), [])
  assert.deepEqual(faulty.unfired(), [])
})

test('identity that is away is waited for like the store', async () => {
  const { faulty, store } = await opened()
  faulty.fail('deleteObject', new AgentError('IDENTITY_UNAVAILABLE', 'keystone answered 503'), 2)

  await store.deleteObject(id, signal)

  assert.deepEqual(faulty.unfired(), [])
})

for (const code of ['UPLOAD_CORRUPT', 'DOWNLOAD_CORRUPT'] as const) {
  test(`${code} ends after three times, whatever the budget`, async () => {
    const { faulty, store } = await opened({ attemptsMin: 10, budgetMs: 60_000 })
    faulty.fail('putObject', new AgentError(code, 'another md5'), 3)

    await assert.rejects(store.putObject(id, Buffer.of(1), signal), {
      code,
      message: 'another md5, at the last of 3 tries',
    })
    assert.deepEqual(faulty.unfired(), [])
  })

  test(`${code} twice among outages is no end`, async () => {
    const { faulty, store } = await opened({ attemptsMin: 10 })
    const unavailable = new AgentError('STORE_UNAVAILABLE', 'swift answered 503')
    faulty.fail('putObject', unavailable, 2)
    faulty.fail('putObject', new AgentError(code, 'another md5'), 2)
    faulty.fail('putObject', unavailable, 2)

    await store.putObject(id, Buffer.of(1), signal)

    assert.deepEqual(faulty.unfired(), [])
  })
}

const permanent: ErrorCode[] = [
  'STORE_REFUSED',
  'STORE_FORBIDDEN',
  'STORE_FULL',
  'OBJECT_NOT_FOUND',
  'OBJECT_TOO_LARGE',
  'CONTAINER_NOT_FOUND',
  'TOKEN_EXPIRED',
  'CREDENTIALS_REFUSED',
  'JOURNAL_UNAVAILABLE', // A sink's own: not the store's to repeat.
]
for (const code of permanent) {
  test(`${code} is not tried again, and surfaces as it is`, async () => {
    const { faulty, store, retries } = await opened({ budgetMs: 60_000 })
    const error = new AgentError(code, 'no')
    faulty.fail('putObject', error, 1)

    assert.equal(await store.putObject(id, Buffer.of(1), signal).catch((e) => e), error)
    assert.equal(faulty.calls('putObject'), 1)
    assert.deepEqual(retries, [])
  })
}

test('Retry-After is honoured, and cut to the budget', async () => {
  for (const [retryAfterMs, leastMs, mostMs] of [
    [30, 30, 40],
    [86_400_000, 100, 400],
  ] as const) {
    const { faulty, store, retries } = await opened({ budgetMs: 400 })
    const busy = new AgentError('STORE_UNAVAILABLE', 'swift answered 429', { retryAfterMs })
    faulty.fail('getObject', busy, 1)
    const sink = { start: () => {}, write: () => {} }

    await assert.rejects(store.getObject(id, sink, signal), { code: 'OBJECT_NOT_FOUND' })

    const waitMs = retries[0]?.waitMs ?? 0
    assert.ok(waitMs >= leastMs && waitMs <= mostMs, `waited ${waitMs} ms`)
  }
})

test('an abort wins over the failure that is being retried', async () => {
  const { faulty, store } = await opened({ budgetMs: 60_000 })
  const stop = new AbortController()
  const reason = new AgentError('AGENT_STOPPING', 'stopping')
  const error = new AgentError('STORE_UNAVAILABLE', 'busy', { retryAfterMs: 50_000 })
  faulty.fail('putObject', error, 1)

  const put = store.putObject(id, Buffer.of(1), stop.signal)
  setImmediate(() => stop.abort(reason))

  assert.equal(await put.catch((thrown) => thrown), reason)
})
