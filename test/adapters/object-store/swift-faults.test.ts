import assert from 'node:assert/strict'
import { hash, randomBytes } from 'node:crypto'
import { createServer } from 'node:net'
import { before, type TestContext, test } from 'node:test'

import { retryingStore, type StoreRetry } from '#src/adapters/object-store/retrying-store.ts'
import { openSwift, type SwiftOptions } from '#src/adapters/object-store/swift-store.ts'
import { AgentError } from '#src/domain/errors.ts'
import type { AccessSource, StoreAccess } from '#src/ports/identity.ts'
import { collectingSink, streamedBody } from '../../contracts/object-store.ts'
import { faultProxy } from '../../support/fault-proxy.ts'
import { keystoneAccess, swiftContainer } from '../../support/stores.ts'

const signal = AbortSignal.timeout(120_000)
const options: SwiftOptions = {
  caFile: null,
  insecure: false,
  connectMs: 5_000,
  idleMs: 20_000,
  createContainers: true,
  storagePolicy: null,
}

let real: StoreAccess
before(async () => {
  real = await keystoneAccess('demo')
})

const unrenewable: Pick<AccessSource, 'renew'> = {
  renew: () => Promise.reject(new AgentError('TOKEN_EXPIRED', 'not to be renewed')),
}

/** A container of the real Swift, reached through a proxy that makes faults. */
async function opened(
  t: TestContext,
  overrides: Partial<SwiftOptions> = {},
  renewal: Pick<AccessSource, 'renew'> = unrenewable,
) {
  const proxy = await faultProxy(t, real.url)
  const access = { url: proxy.inFrontOf(real.url), token: real.token }
  const client = openSwift({ ...options, ...overrides })
  t.after(() => client[Symbol.asyncDispose]())
  const direct = await swiftContainer(t, async () => real)
  const { name: container } = direct
  const retries: StoreRetry[] = []
  const once = client.store({ access: async () => access, ...renewal })
  const policy = { attemptsMin: 4, backoffMs: 5, budgetMs: 0 }
  const store = retryingStore(once, { ...policy, onRetry: (retry) => retries.push(retry) })
  const id = (name: string) => ({ container, name })
  const codes = () => retries.map(({ error }) => (error as AgentError).code)
  return { proxy, container, direct, once, store, id, retries, codes }
}

for (const status of [408, 429, 498, 499, 500, 502, 503, 504, 507]) {
  test(`a ${status} is tried again, for every kind of call`, async (t) => {
    const { proxy, container, store, id, codes } = await opened(t)
    const body = randomBytes(100_000)
    const sink = collectingSink()
    for (const [method, path] of [
      ['HEAD', /test-\w+$/],
      ['PUT', /chunk/],
      ['PUT', /streamed/],
      ['GET', /chunk$/],
      ['GET', /format=json/],
      ['DELETE', /chunk/],
    ] as const) {
      proxy.inject({ kind: 'answer', status }, { method, path })
    }

    await store.ensureContainer(container, signal)
    await store.putObject(id('chunk'), body, signal)
    await store.putObject(id('streamed'), streamedBody([body, body]).body, signal)
    await store.getObject(id('chunk'), sink, signal)
    const listed = await store.listPage(container, '', '', signal)
    await store.deleteObject(id('chunk'), signal)

    assert.ok(sink.bytes().equals(body))
    assert.deepEqual(
      listed.map(({ name, sizeBytes }) => [name, sizeBytes]),
      [
        ['chunk', 100_000],
        ['streamed', 200_000],
      ],
    )
    assert.deepEqual(codes(), Array(6).fill('STORE_UNAVAILABLE'))
  })
}

test('an outage says what was attempted, what came back and its transaction', async (t) => {
  const { proxy, once, id, container } = await opened(t)
  const headers = { 'retry-after': '7', 'x-trans-id': 'tx0123' }
  const body = '<html><h1>Busy</h1><p>\u001b[31mLater.</p></html>'
  proxy.inject({ kind: 'answer', status: 503, headers, body })

  await assert.rejects(once.putObject(id('a'), Buffer.of(1), signal), {
    code: 'STORE_UNAVAILABLE',
    message: `put ${container}/a: swift answered 503`,
    context: {
      container,
      name: 'a',
      status: 503,
      transactionId: 'tx0123',
      answer: 'Busy [31mLater.',
      retryAfterMs: 7000,
    },
  })
})

test('Retry-After as a date counts from the time of the server', async (t) => {
  const { proxy, once, id } = await opened(t)
  const headers = {
    date: 'Mon, 23 Nov 1998 10:00:00 GMT',
    'retry-after': 'Mon, 23 Nov 1998 10:00:20 GMT',
  }
  proxy.inject({ kind: 'answer', status: 429, headers })

  const error = await once.putObject(id('a'), Buffer.of(1), signal).catch((thrown) => thrown)

  assert.equal(error.context.retryAfterMs, 20_000)
})

for (const [status, code, body] of [
  [400, 'STORE_REFUSED', ''],
  [403, 'STORE_FORBIDDEN', ''],
  [404, 'CONTAINER_NOT_FOUND', ''],
  [409, 'STORE_REFUSED', ''],
  [412, 'STORE_REFUSED', ''],
  [413, 'OBJECT_TOO_LARGE', '<html><p>Your request is too large.</p></html>'],
  [413, 'STORE_FULL', 'Upload exceeds quota.'],
] as const) {
  test(`a ${status} is ${code} and not tried again`, async (t) => {
    const { proxy, store, id } = await opened(t)
    proxy.inject({ kind: 'answer', status, body }, { times: 'always' })

    await assert.rejects(store.putObject(id('a'), Buffer.of(1), signal), { code })
    assert.equal(proxy.seen.length, 1)
  })
}

test("half a word of the store's own is not repeated: it may be half a token", async (t) => {
  const { proxy, store, id } = await opened(t)
  const body = `<p>${'word '.repeat(38)}${'x'.repeat(40)}</p>`
  proxy.inject({ kind: 'answer', status: 409, body }, { times: 'always' })

  await assert.rejects(store.putObject(id('a'), Buffer.of(1), signal), {
    message: /409; (word ){37}word$/,
  })
})

test('a redirect is not followed, and the token stays where it belongs', async (t) => {
  const { proxy, store, id } = await opened(t)
  let connects = 0
  const canary = createServer((socket) => {
    connects += 1
    socket.destroy()
  })
  await new Promise<void>((resolve) => canary.listen(0, '127.0.0.1', resolve))
  t.after(() => canary.close())
  const { port } = canary.address() as { port: number }
  const location = `http://127.0.0.1:${port}/v1/AUTH_elsewhere?secret=1`
  for (const status of [301, 302, 307, 308]) {
    proxy.inject({ kind: 'answer', status, headers: { location } })

    await assert.rejects(store.getObject(id('a'), collectingSink(), signal), {
      code: 'STORE_REFUSED',
      message: new RegExp(
        `swift answered ${status}; redirects to http://127.0.0.1:${port} are not followed; set backup_swift_url`,
      ),
    })
  }

  assert.equal(connects, 0)
})

test('a connection that breaks in the middle of an upload is made anew', async (t) => {
  const { proxy, container, store, id, codes } = await opened(t)
  const body = randomBytes(4_000_000)
  const { body: streamed, counts } = streamedBody([body, body])
  proxy.inject({ kind: 'cut-request', afterBytes: 1_000_000 }, { path: /whole/ })
  proxy.inject({ kind: 'cut-request', afterBytes: 5_000_000 }, { path: /streamed/ })

  await store.putObject(id('whole'), body, signal)
  await store.putObject(id('streamed'), streamed, signal)

  const listed = await store.listPage(container, '', '', signal)
  assert.deepEqual(
    listed.map(({ sizeBytes }) => sizeBytes),
    [8_000_000, 4_000_000],
  )
  assert.deepEqual(codes(), ['STORE_UNAVAILABLE', 'STORE_UNAVAILABLE'])
  assert.deepEqual(counts, { opened: 2, ended: 2 })
})

test('an upload whose answer is lost is sent again and is there once', async (t) => {
  const { proxy, container, store, id } = await opened(t)
  proxy.inject({ kind: 'lose-answer' }, { method: 'PUT' })

  await store.putObject(id('a'), Buffer.from('abc'), signal)

  assert.equal((await store.listPage(container, '', '', signal)).length, 1)
  assert.equal(proxy.seen.filter(({ method }) => method === 'PUT').length, 2)
})

for (const [what, fault, code] of [
  ['cut off', { kind: 'cut-answer', afterBytes: 700_000 }, 'STORE_UNAVAILABLE'],
  ['cut off before its first byte', { kind: 'cut-answer', afterBytes: 0 }, 'STORE_UNAVAILABLE'],
  ['short by a byte', { kind: 'shorten-answer', toBytes: 999_999 }, 'DOWNLOAD_CORRUPT'],
  ['changed by a bit', { kind: 'flip-answer', atByte: 500_000 }, 'DOWNLOAD_CORRUPT'],
] as const) {
  test(`a download that is ${what} begins again and ends right`, async (t) => {
    const { proxy, store, id, codes } = await opened(t)
    const body = randomBytes(1_000_000)
    await store.putObject(id('a'), body, signal)
    const sink = collectingSink()
    proxy.inject(fault, { method: 'GET' })

    const read = await store.getObject(id('a'), sink, signal)

    assert.ok(sink.bytes().equals(body))
    assert.equal(read.md5, hash('md5', body))
    assert.equal(sink.starts(), 2)
    assert.deepEqual(codes(), [code])
  })
}

test('a download that is damaged every time ends after three times', async (t) => {
  const { proxy, store, id } = await opened(t)
  await store.putObject(id('a'), randomBytes(1000), signal)
  proxy.inject({ kind: 'flip-answer', atByte: 0 }, { method: 'GET', times: 'always' })

  await assert.rejects(store.getObject(id('a'), collectingSink(), signal), {
    code: 'DOWNLOAD_CORRUPT',
  })
  assert.equal(proxy.seen.filter(({ method }) => method === 'GET').length, 3)
})

test('an upload that arrives damaged is refused by swift itself and sent again', async (t) => {
  const { proxy, store, id, retries } = await opened(t)
  proxy.inject({ kind: 'flip-request', atByte: 1234 }, { method: 'PUT' })
  const body = randomBytes(100_000)
  const sink = collectingSink()

  await store.putObject(id('a'), body, signal)
  await store.getObject(id('a'), sink, signal)

  assert.ok(sink.bytes().equals(body))
  assert.deepEqual(
    retries.map(({ error }) => (error as AgentError).context['status']),
    [422],
  )
})

test('a streamed upload that arrives damaged is known by its ETag and sent again', async (t) => {
  const { proxy, store, id, codes } = await opened(t)
  proxy.inject({ kind: 'flip-request', atByte: 150_000 }, { method: 'PUT' })
  const pieces = [randomBytes(100_000), randomBytes(100_000)]
  const sink = collectingSink()

  await store.putObject(id('a'), streamedBody(pieces).body, signal)
  await store.getObject(id('a'), sink, signal)

  assert.ok(sink.bytes().equals(Buffer.concat(pieces)))
  assert.deepEqual(codes(), ['UPLOAD_CORRUPT'])
})

for (const etag of ['0'.repeat(32), 'none']) {
  test(`an upload answered with the ETag ${etag} for ever ends after three times`, async (t) => {
    const { proxy, store, id } = await opened(t)
    const fault = { kind: 'change-headers', headers: { etag } } as const
    proxy.inject(fault, { method: 'PUT', times: 'always' })

    await assert.rejects(store.putObject(id('a'), Buffer.of(1), signal), { code: 'UPLOAD_CORRUPT' })
    assert.equal(proxy.seen.length, 3)
  })
}

test('an ETag in quotes is an ETag', async (t) => {
  const { proxy, store, id } = await opened(t)
  const body = Buffer.from('abc')
  const fault = { kind: 'change-headers', headers: { etag: `"${hash('md5', body)}"` } } as const
  proxy.inject(fault, { times: 2 })

  await store.putObject(id('a'), body, signal)
  await store.getObject(id('a'), collectingSink(), signal)
})

test('a server that hangs is given up after the idle time', async (t) => {
  const { proxy, direct, store, id, codes, retries } = await opened(t, { idleMs: 1000 })
  const body = randomBytes(3_000_000)
  await direct.put('a', body)
  const sink = collectingSink()
  proxy.inject({ kind: 'hang' }, { method: 'PUT' })
  proxy.inject({ kind: 'stall-answer', afterBytes: 1_000_000 }, { method: 'GET' })
  proxy.inject({ kind: 'hang' }, { method: 'GET' })

  await store.putObject(id('b'), body, signal)
  await store.getObject(id('a'), sink, signal)

  assert.ok(sink.bytes().equals(body))
  assert.deepEqual(codes(), Array(3).fill('STORE_UNAVAILABLE'))
  for (const { error } of retries) {
    assert.match((error as AgentError).message, /no byte came or went for 1000 ms/)
  }
})

test('an upload that is slow but moves is not given up', async (t) => {
  const { proxy, once, id } = await opened(t, { idleMs: 1000 })
  proxy.inject({ kind: 'slow-request', bytesPerSecond: 8_000_000 })

  await once.putObject(id('a'), randomBytes(20_000_000), signal)
})

test('a sink that is slower than the idle time is waited for, a server that then hangs is not', async (t) => {
  const { proxy, direct, once, id } = await opened(t, { idleMs: 1000 })
  const body = randomBytes(3_000_000)
  await direct.put('a', body)
  const sink = collectingSink()
  let writes = 0
  const slow = {
    start: sink.start,
    write: async (piece: Uint8Array) => {
      writes += 1
      if (writes === 2) await new Promise((resolve) => setTimeout(resolve, 2500))
      return sink.write(piece)
    },
  }

  await once.getObject(id('a'), slow, signal)
  assert.ok(sink.bytes().equals(body))

  writes = 0
  proxy.inject({ kind: 'stall-answer', afterBytes: 2_000_000 })
  await assert.rejects(once.getObject(id('a'), slow, signal), { code: 'STORE_UNAVAILABLE' })
  assert.ok(writes > 2)
})

test('an abort ends a call that hangs, at once and with its reason', async (t) => {
  const { proxy, store, id } = await opened(t)
  const stop = new AbortController()
  const reason = new AgentError('OPERATION_CANCELLED', 'cancelled')
  proxy.inject({ kind: 'hang' }, { method: 'PUT' })

  const put = store.putObject(id('a'), randomBytes(100_000), stop.signal).catch((e) => e)
  while (proxy.seen.length === 0) await new Promise((resolve) => setImmediate(resolve))
  stop.abort(reason)

  assert.equal(await put, reason)
})

test('nothing that listens there is STORE_UNAVAILABLE', async (t) => {
  const client = openSwift(options)
  t.after(() => client[Symbol.asyncDispose]())
  const access = { url: 'http://127.0.0.1:1/v1/AUTH_a', token: 'secret-token' }
  const store = client.store({ access: async () => access, ...unrenewable })

  const error = await store.listPage('c', '', '', signal).catch((thrown) => thrown)

  assert.equal(error.code, 'STORE_UNAVAILABLE')
  assert.match(error.message, /^list c: no answer from swift: .*ECONNREFUSED/)
})

for (const [what, change] of [
  ['no JSON', () => '<html>'],
  ['no list', () => '{"name": "a"}'],
  ['names of others', (text: string) => text.replaceAll('"b-', '"other-')],
  ['what came before', (text: string) => text.replaceAll('"b-2', '"b-1')],
] as const) {
  test(`a listing with ${what} is not believed`, async (t) => {
    const { proxy, container, once, store, id } = await opened(t)
    for (const name of ['b-1', 'b-2']) await store.putObject(id(name), Buffer.of(1), signal)
    proxy.inject({ kind: 'change-body', change }, { method: 'GET' })

    await assert.rejects(once.listPage(container, 'b-', 'b-1', signal), {
      code: 'STORE_UNAVAILABLE',
    })
  })
}

test('limits come from /info, and are the usual ones where it is hidden', async (t) => {
  const { proxy, store } = await opened(t)
  const asked = await store.limits(signal)
  const small = { kind: 'change-body', change: () => '{"swift": {"max_file_size": 1000}}' } as const
  proxy.inject(small)
  const stated = await store.limits(signal)
  proxy.inject({ kind: 'answer', status: 403 })
  const hidden = await store.limits(signal)
  proxy.inject({ kind: 'change-body', change: () => 'no JSON' })
  const garbled = await store.limits(signal)

  assert.equal(asked.objectBytesMax, 5_368_709_122)
  assert.equal(stated.objectBytesMax, 1000)
  assert.deepEqual(hidden, asked)
  assert.deepEqual(garbled, asked)
  for (const { path, headers } of proxy.seen) {
    assert.equal(path, '/info')
    assert.equal(headers['x-auth-token'], undefined)
  }
})
