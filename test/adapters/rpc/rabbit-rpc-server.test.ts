import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { type TestContext, test } from 'node:test'

import type { recordingLog } from '#src/adapters/log/recording-log.ts'
import type { RabbitOptions } from '#src/adapters/rpc/rabbit-options.ts'
import { wholeFile } from '../../support/driven-agent.ts'
import { eventually, type PlainClient, plainClient } from '../../support/rabbit.ts'
import { rabbitPeers } from '../../support/rabbit-peers.ts'
import { type RabbitVhost, rabbitVhost } from '../../support/rabbit-vhost.ts'

const noArguments = JSON.stringify({ method: 'a', args: {} })

/** A virtual host of the test's own: names on it are the real ones. */
async function ownHost(
  t: TestContext,
): Promise<{ readonly vhost: RabbitVhost; readonly client: PlainClient }> {
  const vhost = await rabbitVhost(wholeFile) // It goes last, or the peers would find it gone.
  return { vhost, client: await plainClient(t, vhost.amqpUrl) }
}

const stream = {
  rabbitQuorumQueue: true,
  rabbitTransientQuorumQueue: true,
  rabbitStreamFanout: true,
  rabbitQosPrefetchCount: 4,
}

const topologies: readonly [string, Partial<RabbitOptions>, object, object][] = [
  ['oslo’s defaults', {}, { type: 'classic', durable: false, auto_delete: false }, {}],
  [
    'durable queues',
    { amqpDurableQueues: true },
    { type: 'classic', durable: true },
    { durable: false, arguments: { 'x-expires': 1_800_000 } },
  ],
  ['auto-delete queues', { amqpAutoDelete: true }, { auto_delete: true }, { auto_delete: false }],
  [
    'mirrored queues',
    { rabbitHaQueues: true, enableCancelOnFailover: true },
    { arguments: { 'x-ha-policy': 'all' } },
    { arguments: { 'x-ha-policy': 'all' } },
  ],
  [
    'quorum queues with limits',
    {
      rabbitQuorumQueue: true,
      rabbitQuorumDeliveryLimit: 7,
      rabbitQuorumMaxMemoryLength: 1000,
      rabbitQuorumMaxMemoryBytes: 1_000_000,
    },
    {
      type: 'quorum',
      durable: true,
      arguments: {
        'x-delivery-limit': 7,
        'x-max-in-memory-length': 1000,
        'x-max-in-memory-bytes': 1_000_000,
      },
    },
    { type: 'classic' },
  ],
  [
    'quorum queues throughout',
    { rabbitQuorumQueue: true, rabbitTransientQuorumQueue: true },
    { type: 'quorum' },
    { type: 'quorum', arguments: { 'x-expires': 1_800_000 } },
  ],
  [
    'a stream',
    stream,
    { type: 'quorum' },
    { name: 'cinder-backup_fanout', type: 'stream', arguments: { 'x-max-age': '1800s' } },
  ],
  [
    'managed queues that never expire',
    { useQueueManager: true, hostname: 'node', processname: 'p', rabbitTransientQueuesTtl: 0 },
    {},
    { name: 'cinder-backup_fanout_node:p:1', arguments: {} },
  ],
]

for (const [what, rabbit, expected, expectedFanout] of topologies) {
  test(`requests come over ${what}`, async (t) => {
    const { vhost, client } = await ownHost(t)
    const peers = rabbitPeers(t, { transportUrl: vhost.transportUrl, rabbit, declare: 'strict' })
    await peers.serve()

    client.publish('openstack', 'cinder-backup', noArguments)
    client.publish('openstack', 'cinder-backup.host-1', noArguments)
    client.publish('cinder-backup_fanout', '', noArguments)

    const sources = [1, 2, 3].map(async () => (await peers.requests.next()).source)
    assert.deepEqual((await Promise.all(sources)).toSorted(), ['fanout', 'server', 'topic'])
    const queues = await vhost.queues()
    const named = (wanted: string | undefined) => queues.find(({ name }) => name === wanted)
    assert.partialDeepStrictEqual(named('cinder-backup'), expected)
    assert.partialDeepStrictEqual(named(peers.server.queues[2]), expectedFanout)
  })
}

test('a stream goes on where it was after a lost connection, each message once', async (t) => {
  const { vhost } = await ownHost(t)
  const peers = rabbitPeers(t, { transportUrl: vhost.transportUrl, rabbit: stream })
  await peers.serve()
  const fanout = async (...methods: string[]) => {
    const client = await plainClient(t, vhost.amqpUrl)
    for (const method of methods) {
      client.publish('cinder-backup_fanout', '', JSON.stringify({ method, args: {} }))
    }
  }
  await fanout('a', 'b')
  assert.deepEqual([await methodOf(peers), await methodOf(peers)], ['a', 'b'])

  await vhost.closeConnections()
  await fanout('c', 'd') // The server comes back a second later.

  assert.deepEqual([await methodOf(peers), await methodOf(peers)], ['c', 'd'])
  assert.equal(peers.requests.count, 0)
})

test('a stream that was deleted is read from its end again', async (t) => {
  const { vhost, client } = await ownHost(t)
  const peers = rabbitPeers(t, { transportUrl: vhost.transportUrl, rabbit: stream })
  await peers.serve()
  for (const method of ['a', 'b', 'c']) {
    client.publish('cinder-backup_fanout', '', JSON.stringify({ method }))
    assert.equal(await methodOf(peers), method)
  }

  await client.channel.deleteQueue('cinder-backup_fanout')
  await eventually(
    () => peers.log.lines.filter(isConsuming).length === 2,
    'the new stream is consumed',
  )
  client.publish('cinder-backup_fanout', '', JSON.stringify({ method: 'new' }))

  assert.equal(await methodOf(peers), 'new')
})

/** What is told once all consumers of a connection are there. */
function isConsuming({ message, fields }: ReturnType<typeof recordingLog>['lines'][number]) {
  return message.startsWith('connected to the broker') && fields['role'] === 'consume'
}

async function methodOf(peers: ReturnType<typeof rabbitPeers>): Promise<string> {
  await eventually(() => peers.requests.count > 0, 'a request comes', 60_000).catch(
    (error: Error) => {
      const told = peers.log.lines.map((line) => JSON.stringify(line)).join('\n')
      throw new Error(`${error.message}; the log:\n${told}`)
    },
  )
  return (await peers.requests.next()).method
}

test('a stop deletes the fanout queue and leaves the others', async (t) => {
  const { vhost, client } = await ownHost(t)
  const peers = rabbitPeers(t, { transportUrl: vhost.transportUrl })
  await peers.serve()
  const [topic = '', host = '', fanout = ''] = peers.server.queues

  await peers.server.stop()

  assert.deepEqual([topic, host], ['cinder-backup', 'cinder-backup.host-1'])
  assert.match(fanout, /^cinder-backup_fanout_[0-9a-f]{32}$/)
  assert.equal(await client.exists(topic), true)
  assert.equal(await client.exists(host), true)
  assert.equal(await client.exists(fanout), false)
})

test('adopt: queues and an exchange with other flags are used as they are', async (t) => {
  const { vhost, client } = await ownHost(t)
  await client.channel.assertExchange('openstack', 'topic', { durable: true })
  await client.channel.assertQueue('cinder-backup', {
    durable: true,
    arguments: { 'x-queue-type': 'quorum' },
  })
  const peers = rabbitPeers(t, { transportUrl: vhost.transportUrl, declare: 'adopt' })

  await peers.serve()
  client.publish('openstack', 'cinder-backup', noArguments)

  assert.equal((await peers.requests.next()).source, 'topic')
  const told = peers.log.lines.filter(({ message }) => message.includes('used as it is'))
  const words = told.map(({ fields }) => String(fields['broker'])).join('\n')
  assert.match(words, /'durable' for exchange 'openstack'.*received 'false' but current is 'true'/)
  assert.match(words, /for queue 'cinder-backup'/)
})

test('strict: a queue with other flags stops the start, in the words of the broker', async (t) => {
  const { vhost, client } = await ownHost(t)
  await client.channel.assertExchange('openstack', 'topic', { durable: true })
  const peers = rabbitPeers(t, { transportUrl: vhost.transportUrl, declare: 'strict' })

  await assert.rejects(peers.serve(), {
    code: 'BROKER_REFUSED',
    message: /'durable' for exchange 'openstack'.*received 'false' but current is 'true'.*adopt/,
  })
})

test('a queue that is deleted is declared and consumed again by itself', async (t) => {
  const { vhost, client } = await ownHost(t)
  const peers = rabbitPeers(t, { transportUrl: vhost.transportUrl })
  await peers.serve()

  await client.channel.deleteQueue('cinder-backup.host-1')
  await eventually(() => client.exists('cinder-backup.host-1'), 'the queue is there again')
  client.publish('openstack', 'cinder-backup.host-1', noArguments)

  assert.equal((await peers.requests.next()).source, 'server')
})

test('a connection that the broker closes comes back with the same queues', async (t) => {
  const { vhost } = await ownHost(t)
  const gate = Promise.withResolvers<{ kind: 'ignored' }>()
  const peers = rabbitPeers(t, {
    transportUrl: vhost.transportUrl,
    handler: () => gate.promise,
  })
  await peers.serve()
  const client = await plainClient(t, vhost.amqpUrl)
  const inHand = JSON.stringify({ method: 'in-hand', _unique_id: 'a'.repeat(32) })
  client.publish('openstack', 'cinder-backup.host-1', inHand)
  assert.equal((await peers.requests.next()).method, 'in-hand')

  await vhost.closeConnections()
  const [, , fanout = ''] = peers.server.queues
  const again = await plainClient(t, vhost.amqpUrl)
  await eventually(
    async () => (await again.channel.checkQueue(fanout)).consumerCount === 1,
    'the server consumes again',
  )
  gate.resolve({ kind: 'ignored' }) // Its acknowledgement is for a channel that is gone.
  again.publish('openstack', 'cinder-backup.host-1', JSON.stringify({ method: 'next' }))

  // The first one was delivered again, known, and acknowledged without being run again.
  assert.equal((await peers.requests.next()).method, 'next')
  await eventually(
    async () => (await vhost.queues()).every(({ messages }) => messages === 0),
    'all is acknowledged',
  )
  assert.equal(peers.requests.count, 0)
})

test('ping is answered where it is enabled, in version 1 only', async (t) => {
  const { vhost, client } = await ownHost(t)
  const peers = rabbitPeers(t, { transportUrl: vhost.transportUrl, rpcPingEnabled: true })
  await peers.serve()
  await client.channel.assertQueue('reply_1', { durable: false })
  const ping = { method: 'oslo_rpc_server_ping', args: {}, _msg_id: 'm', _reply_q: 'reply_1' }

  client.publish('openstack', 'cinder-backup', JSON.stringify({ ...ping, version: '2.0' }))
  client.publish('openstack', 'cinder-backup', JSON.stringify(ping))

  const { content } = await client.next('reply_1')
  assert.equal(JSON.parse(JSON.parse(content.toString())['oslo.message']).result, 'pong')
  assert.equal((await peers.requests.next()).version, '2.0')
  assert.equal(peers.requests.count, 0)
})

test('poison is told in less than 1 KiB, without what may be a secret', async (t) => {
  const { vhost, client } = await ownHost(t)
  const peers = rabbitPeers(t, { transportUrl: vhost.transportUrl })
  await peers.serve()
  const poison = `{"_context_auth_token": "gAAAAsecret", ${'x'.repeat(50_000)}`

  client.publish('openstack', 'cinder-backup', poison)
  client.publish('openstack', 'cinder-backup', noArguments)
  await peers.requests.next()

  const lines = peers.log.lines.filter(({ message }) => message === 'a message was rejected')
  assert.equal(lines.length, 1)
  const line = JSON.stringify(lines[0])
  assert.ok(line.length < 1_024, line)
  assert.doesNotMatch(line, /secret/)
  assert.match(line, /is not JSON at position \d+/)
})

test('with several hosts the first that answers is taken', async (t) => {
  const { vhost } = await ownHost(t)
  const dead = await closedPort()
  const [, rest = ''] = vhost.transportUrl.split('//')
  const transportUrl = `rabbit://u%40d:p%2Cq@127.0.0.1:${dead},u:p@[::1]:${dead},${rest}`
  const peers = rabbitPeers(t, { transportUrl })

  await peers.serve()

  assert.deepEqual(peers.server.queues.slice(0, 1), ['cinder-backup'])
})

test('a wrong password is told once, without it, and tried again', async (t) => {
  const { vhost } = await ownHost(t)
  const transportUrl = vhost.transportUrl.replace(/:[^:@]+@/, ':wrong-secret@')
  const peers = rabbitPeers(t, { transportUrl, rabbit: { rabbitRetryInterval: 0.1 } })
  const waiting = new AbortController()
  const serving = assert.rejects(
    peers.server.serve(async () => ({ kind: 'ignored' }), waiting.signal),
  )

  await eventually(() => consumeFailures(peers.log).length > 0, 'the refusal is told')
  await eventually(
    () => peers.log.lines.some(({ fields }) => fields['role'] === 'notify'),
    'others are told too',
  )
  waiting.abort()
  await serving

  const [line] = consumeFailures(peers.log)
  assert.match(JSON.stringify(line), /refused the login of user agent.*check transport_url/)
  assert.doesNotMatch(JSON.stringify(peers.log.lines), /wrong-secret/)
  assert.equal(consumeFailures(peers.log).length, 1)
})

test('a virtual host that is not there is named', async (t) => {
  const { vhost } = await ownHost(t)
  const peers = rabbitPeers(t, { transportUrl: `${vhost.transportUrl}-missing` })
  const waiting = new AbortController()
  const serving = assert.rejects(
    peers.server.serve(async () => ({ kind: 'ignored' }), waiting.signal),
  )

  await eventually(() => consumeFailures(peers.log).length > 0, 'the refusal is told')
  waiting.abort()
  await serving

  const line = JSON.stringify(consumeFailures(peers.log)[0])
  assert.match(line, new RegExp(`the virtual host ${vhost.name}-missing: does it exist`))
})

test('a server that never answers is given up when the wait is aborted', async (t) => {
  const silent = createServer(() => {}).listen(0, '127.0.0.1')
  t.after(() => silent.close())
  await new Promise((resolve) => silent.once('listening', resolve))
  const address = silent.address()
  assert.ok(typeof address === 'object' && address !== null)
  const peers = rabbitPeers(t, { transportUrl: `rabbit://u:p@127.0.0.1:${address.port}/` })

  await assert.rejects(
    peers.server.serve(async () => ({ kind: 'ignored' }), AbortSignal.timeout(300)),
    { name: 'TimeoutError' },
  )
})

function consumeFailures(log: ReturnType<typeof recordingLog>) {
  return log.lines.filter(
    ({ message, fields }) =>
      message === 'no connection to the broker' && fields['role'] === 'consume',
  )
}

/** A port where nobody listens. */
async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  assert.ok(typeof address === 'object' && address !== null)
  return address.port
}
