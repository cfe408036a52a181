// Names, prefixes and tokens of every kind, and what of them reaches the wire: a server that notes each byte
// sees requests for exactly those objects of that account, or none at all.

import assert from 'node:assert/strict'
import { createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'

import { openSwift } from '#src/adapters/object-store/swift-store.ts'
import { AgentError, hasCode } from '#src/domain/errors.ts'
import type { ObjectStore } from '#src/ports/object-store.ts'
import { hostileText } from '../support/hostile-json.ts'
import { times } from '../support/soak.ts'
import { testSeed } from '../support/volume-files.ts'

const signal = AbortSignal.timeout(3_600_000)
const account = '/v1/AUTH_mine'
const headEnd = '\r\n\r\n'

/** A server that has nothing, and notes the head of each request. */
async function recordingServer(t: TestContext) {
  const heads: string[] = []
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    let text = ''
    sockets.add(socket)
    socket.on('error', () => socket.destroy()).on('close', () => sockets.delete(socket))
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1')
      for (let end = text.indexOf(headEnd); end !== -1; end = text.indexOf(headEnd)) {
        heads.push(text.slice(0, end))
        text = text.slice(end + headEnd.length)
        socket.write('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n')
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const { port } = server.address() as { port: number }
  return { url: `http://127.0.0.1:${port}${account}`, heads }
}

const ask = {
  get: (store: ObjectStore, container: string, name: string) =>
    store.getObject(
      { container, name },
      { start: () => undefined, write: () => undefined },
      signal,
    ),
  part: (store: ObjectStore, container: string, name: string) => {
    const sink = { start: () => undefined, write: () => undefined }
    return store.getUndigested({ container, name }, sink, signal, {
      offsetBytes: 0,
      lengthBytes: 1,
    })
  },
  put: (store: ObjectStore, container: string, name: string) =>
    store.putObject({ container, name }, Buffer.alloc(0), signal),
  delete: (store: ObjectStore, container: string, name: string) =>
    store.deleteObject({ container, name }, signal),
  list: (store: ObjectStore, container: string, name: string) =>
    store.listPage(container, name, name, signal),
}

const headers =
  /^(host|x-auth-token|content-(length|type)|etag|range|accept|accept-encoding|connection): ?[\x20-\x7e]*$/i

/** Fails unless the head is one request for what was asked for, with the token that was given. */
function assertOneRequest(
  head: string,
  { how, container, name, token }: { how: string; container: string; name: string; token: string },
): void {
  const [line = '', ...lines] = head.split('\r\n')
  const [, target = ''] = /^[A-Z]+ (\S+) HTTP\/1\.1$/.exec(line) ?? []
  const [path = '', query = ''] = target.split('?')
  const wanted = how === 'list' ? container : `${container}/${name}`
  assert.equal(
    decodeURIComponent(path),
    `${account}/${wanted}`,
    'its own account, percent-encoded once',
  )
  assert.ok(!path.split('/').some((part) => /^(\.|%2e){1,2}$/i.test(part)), path)
  assert.equal(path.split('/').length, `${account}/${wanted}`.split('/').length)
  if (how === 'list') assert.equal(new URLSearchParams(query).get('prefix'), name)
  for (const one of lines) assert.match(one, headers)
  const tokens = lines.filter((one) => /^x-auth-token:/i.test(one))
  assert.deepEqual(tokens, [`x-auth-token: ${token}`])
}

const plainToken = 'gAAAAABgood'
const plainName = 'volume_a/20260101000000/az_nova_backup_b-00001'

const hostileAsk = fc.record({
  how: fc.constantFrom(...(Object.keys(ask) as (keyof typeof ask)[])),
  container: fc.oneof(fc.constant('volumebackups'), hostileText),
  name: fc.oneof(
    fc.constant(plainName),
    hostileText,
    hostileText.map((text) => `${plainName}${text}`),
    hostileText.map((text) => `volume_a/${text}/b`),
  ),
  token: fc.oneof(
    { weight: 3, arbitrary: fc.constant(plainToken) },
    { weight: 1, arbitrary: hostileText },
  ),
})

test('whatever names and tokens there are, one request goes out for what was meant, or none', async (t) => {
  const { url, heads } = await recordingServer(t)
  const client = openSwift({
    ...{ caFile: null, insecure: false, connectMs: 5000, idleMs: 20_000 },
    ...{ createContainers: true, storagePolicy: null },
  })
  t.after(() => client[Symbol.asyncDispose]())
  const tally = { sent: 0, refused: 0 }
  const numRuns = times(3000, 100_000)
  await fc.assert(
    fc.asyncProperty(hostileAsk, async (asked) => {
      const { how, container, name, token } = asked
      heads.splice(0)
      const access = async () => ({ url, token })
      const store = client.store({ access, renew: access })
      const outcome = await ask[how](store, container, name).then(
        () => null,
        (error: unknown) => error,
      )
      assert.ok(outcome === null || outcome instanceof AgentError, String(outcome))
      assert.ok(heads.length <= 1)
      for (const head of heads) assertOneRequest(head, asked)
      if (heads.length === 1) tally.sent += 1
      else if (
        ['STORE_REFUSED', 'CONTAINER_INVALID'].some((code) => hasCode(outcome, code as never))
      )
        tally.refused += 1
      else assert.fail(`nothing was sent, and it ended with ${outcome}`)
    }),
    { seed: Number(testSeed(t)), numRuns, endOnFailure: true },
  )
  t.diagnostic(`${numRuns} asked: ${JSON.stringify(tally)}`)
  assert.ok(tally.sent > numRuns / 20 && tally.refused > numRuns / 20)
})
