import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'

import { openSwift, type SwiftOptions } from '#src/adapters/object-store/swift-store.ts'
import { AgentError } from '#src/domain/errors.ts'
import { monotonicMs } from '#src/lib/clock.ts'
import type { ObjectStore } from '#src/ports/object-store.ts'
import { collectingSink } from '../../contracts/object-store.ts'

const signal = AbortSignal.timeout(60_000)
const id = { container: 'c', name: 'a' }
const options: SwiftOptions = {
  caFile: null,
  insecure: false,
  connectMs: 2_000,
  idleMs: 1_000,
  createContainers: true,
  storagePolicy: null,
}

/** What a server does with one request; `nth` counts those of its connection, from 1. */
type Answer = (socket: Socket, nth: number, request: string) => unknown

type Raw = {
  readonly store: ObjectStore
  readonly server: Server
  readonly counts: { connections: number; requests: number; open: number }
  readonly heads: string[]
}

/** A server of bare bytes, and the store that asks it. */
async function rawServer(
  t: TestContext,
  answer: Answer,
  { host = '127.0.0.1', token = 'secret', path = '/v1/AUTH_a' } = {},
): Promise<Raw> {
  const counts = { connections: 0, requests: 0, open: 0 }
  const heads: string[] = []
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    counts.connections += 1
    counts.open += 1
    sockets.add(socket)
    socket
      .on('error', () => {})
      .on('close', () => {
        counts.open -= 1
      })
    let nth = 0
    let asked = ''
    socket.on('data', (piece) => {
      asked += piece.toString('latin1')
      for (let end = asked.indexOf('\r\n\r\n'); end !== -1; end = asked.indexOf('\r\n\r\n')) {
        const head = asked.slice(0, end)
        asked = asked.slice(end + 4)
        counts.requests += 1
        nth += 1
        heads.push(head)
        answer(socket, nth, head)
      }
    })
  })
  server.listen(0, host)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const client = openSwift(options)
  t.after(async () => {
    await client[Symbol.asyncDispose]()
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const shown = host.includes(':') ? `[${host}]` : host
  const access = { url: `http://${shown}:${port}${path}`, token }
  const renew = () => Promise.reject(new AgentError('TOKEN_EXPIRED', 'not to be renewed'))
  const store = client.store({ access: async () => access, renew })
  return { store, server, counts, heads }
}

const ok = (body: string, more = '') =>
  `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n${more}\r\n${body}`

async function read(store: ObjectStore): Promise<string> {
  const sink = collectingSink()
  const sizeBytes = await store.getUndigested(id, sink, signal)
  assert.equal(sizeBytes, sink.bytes().byteLength)
  return sink.bytes().toString('latin1')
}

test('one connection serves one GET after the other', async (t) => {
  const { store, counts, heads } = await rawServer(t, (socket) => socket.write(ok('body')))

  for (let i = 0; i < 3; i += 1) assert.equal(await read(store), 'body')

  assert.deepEqual([counts.connections, counts.requests], [1, 3])
  assert.match(heads[0] ?? '', /^GET \/v1\/AUTH_a\/c\/a HTTP\/1\.1\r\nhost: 127\.0\.0\.1:\d+\r\n/)
  assert.match(heads[0] ?? '', /\r\nx-auth-token: secret$/)
})

test('a head that comes byte by byte, after a 100, is a head', async (t) => {
  const { store } = await rawServer(t, async (socket) => {
    const text = `HTTP/1.1 100 Continue\r\n\r\n${ok('body', 'X-Odd:\t two  words \r\n')}`
    for (const byte of text) {
      socket.write(byte)
      await new Promise((resolve) => setImmediate(resolve))
    }
  })

  assert.equal(await read(store), 'body')
  assert.equal(await read(store), 'body')
})

test('an empty object, a 204 and an object of no length at all end at once', async (t) => {
  const answers = [ok(''), 'HTTP/1.1 204 No Content\r\n\r\n', ok('')]
  const { store, counts } = await rawServer(t, (socket, nth) =>
    socket.write(answers[nth - 1] ?? ''),
  )

  for (let i = 0; i < 3; i += 1) assert.equal(await read(store), '')

  assert.equal(counts.connections, 1)
})

for (const [what, answer] of [
  ['chunked', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n'],
  ['ended by the connection', 'HTTP/1.0 200 OK\r\n\r\nbody'],
]) {
  test(`an object whose answer is ${what} is read all the same`, async (t) => {
    const { store, counts } = await rawServer(t, (socket) =>
      answer?.includes('1.0') ? socket.end(answer) : socket.write(answer ?? ''),
    )

    assert.equal(await read(store), 'body')
    const asked = counts.requests
    assert.equal(await read(store), 'body')
    assert.deepEqual([asked, counts.requests], [2, 3]) // The second time it is known.
  })
}

for (const [what, answer, message] of [
  ['no HTTP', 'SSH-2.0-OpenSSH_9.2\r\n\r\n', /no answer of HTTP\/1/],
  ['a head with an odd line', 'HTTP/1.1 200 OK\r\nno colon\r\n\r\n', /a line that is no header/],
  ['a folded header', 'HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n', /a line that is no header/],
  ['a length that is none', 'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n', /Content-Length/],
  [
    'two lengths',
    'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
    /Content-Length/,
  ],
  ['a head too large', `HTTP/1.1 200 OK\r\nA: ${'x'.repeat(70_000)}`, /more than 65536 bytes/],
] as const) {
  test(`${what} is STORE_UNAVAILABLE, and ends the connection`, async (t) => {
    const { store, counts } = await rawServer(t, (socket) => socket.write(answer))
    const sink = collectingSink()

    const failed = { code: 'STORE_UNAVAILABLE', message }
    await assert.rejects(store.getUndigested(id, sink, signal), failed)

    assert.equal(sink.starts(), 0)
    while (counts.open > 0) await new Promise((resolve) => setImmediate(resolve))
  })
}

test('a body that ends early is STORE_UNAVAILABLE, and says how much came', async (t) => {
  const { store } = await rawServer(t, (socket) =>
    socket.end('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbody'),
  )

  await assert.rejects(store.getUndigested(id, collectingSink(), signal), {
    code: 'STORE_UNAVAILABLE',
    message: /^get c\/a: no answer from swift: .* after 4 of 10 bytes$/,
  })
})

test('a connection that ends before its first byte is asked once, when it is new', async (t) => {
  const { store, counts } = await rawServer(t, (socket) => socket.destroy())

  await assert.rejects(read(store), { code: 'STORE_UNAVAILABLE' })
  assert.equal(counts.requests, 1)
})

test('a kept connection that has died is replaced at once, and once', async (t) => {
  let isDead = false
  const { store, counts } = await rawServer(t, (socket, nth) => {
    if (nth > 1 || isDead) socket.resetAndDestroy()
    else socket.write(ok('body'))
  })

  assert.equal(await read(store), 'body')
  assert.equal(await read(store), 'body')
  assert.deepEqual([counts.connections, counts.requests], [2, 3])

  isDead = true
  await assert.rejects(read(store), { code: 'STORE_UNAVAILABLE' })
  assert.equal(counts.requests, 5)
})

for (const [what, extra] of [
  ['more body than was announced', 'more'],
  ['an answer that nobody asked for', ok('garbage')],
] as const) {
  test(`${what} is not taken for the next answer`, async (t) => {
    const { store, counts } = await rawServer(t, (socket) => socket.write(ok('body') + extra))

    assert.equal(await read(store), 'body')
    assert.equal(await read(store), 'body')
    assert.equal(counts.connections, 2)
  })
}

test('bytes that come while nobody asks end the connection', async (t) => {
  const { store, counts } = await rawServer(t, (socket) => {
    socket.write(ok('body'), () => setTimeout(() => socket.write('garbage'), 20))
  })

  assert.equal(await read(store), 'body')
  while (counts.open > 0) await new Promise((resolve) => setImmediate(resolve))
  assert.equal(await read(store), 'body')
})

test('a connection that the server wants closed is not used again', async (t) => {
  const { store, counts } = await rawServer(t, (socket) =>
    socket.write(ok('body', 'Connection: Close\r\n')),
  )

  await read(store)
  await read(store)
  assert.equal(counts.connections, 2)
})

test('a body that trickles is not given up, one that stops is', async (t) => {
  const { store } = await rawServer(t, async (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n')
    for (let i = 0; i < 4; i += 1) {
      await new Promise((resolve) => setTimeout(resolve, 400))
      socket.write('x')
    }
  })
  const startMs = monotonicMs()

  await assert.rejects(store.getUndigested(id, collectingSink(), signal), {
    code: 'STORE_UNAVAILABLE',
    message: /no byte came or went for 1000 ms after 4 of 5 bytes/,
  })
  assert.ok(monotonicMs() - startMs >= 2_500)
})

test('an error keeps its code, its words and its Retry-After', async (t) => {
  const page = '<html><h1>Slow down</h1></html>'
  const { store, counts } = await rawServer(t, (socket) =>
    socket.write(
      `HTTP/1.1 498 Rate Limited\r\nRetry-After: 3\r\nContent-Length: ${page.length}\r\n\r\n${page}`,
    ),
  )

  for (let i = 0; i < 2; i += 1) {
    await assert.rejects(store.getUndigested(id, collectingSink(), signal), (error: AgentError) => {
      assert.equal(error.code, 'STORE_UNAVAILABLE')
      const { status, answer, retryAfterMs } = error.context
      assert.deepEqual([status, answer, retryAfterMs], [498, 'Slow down', 3000])
      return true
    })
  }
  assert.equal(counts.connections, 1)
})

test('an error of no stated length is told of, and not asked for again', async (t) => {
  const { store, counts } = await rawServer(t, (socket) =>
    socket.end('HTTP/1.0 503 Service Unavailable\r\n\r\naway'),
  )

  await assert.rejects(read(store), { code: 'STORE_UNAVAILABLE', message: /answered 503/ })
  assert.equal(counts.requests, 1)
})

test('an IPv6 address is reached, and named in brackets', async (t) => {
  const { store, heads } = await rawServer(t, (socket) => socket.write(ok('body')), { host: '::1' })

  assert.equal(await read(store), 'body')
  assert.match(heads[0] ?? '', /\r\nhost: \[::1\]:\d+\r\n/)
})

for (const token of ['a\r\nx-evil: 1', 'a\nb', 'a\u0000', 'é']) {
  test(`the token ${JSON.stringify(token)} never leaves`, async (t) => {
    const { store, counts } = await rawServer(t, (socket) => socket.write(ok('body')), { token })

    const error = await store.getUndigested(id, collectingSink(), signal).catch((e) => e)

    assert.equal(error.code, 'STORE_REFUSED')
    assert.ok(!error.message.includes(token))
    assert.equal(counts.connections, 0)
  })
}

test('an abort ends the transfer at once, and nothing comes after it', async (t) => {
  const { store, counts } = await rawServer(t, (socket) => {
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n${'x'.repeat(8_000_000)}`)
  })
  const stop = new AbortController()
  const reason = new AgentError('OPERATION_CANCELLED', 'cancelled')
  let writing = false
  let writes = 0
  const sink = {
    start: () => {},
    write: async () => {
      writing = true
      writes += 1
      if (writes === 2) stop.abort(reason)
      await new Promise((resolve) => setTimeout(resolve, 20))
      writing = false
    },
  }

  assert.equal(await store.getUndigested(id, sink, stop.signal).catch((error) => error), reason)

  assert.equal(writing, false)
  assert.equal(writes, 2)
  while (counts.open > 0) await new Promise((resolve) => setImmediate(resolve))
})
