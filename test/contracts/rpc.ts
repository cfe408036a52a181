import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import { AgentError } from '#src/domain/errors.ts'
import type { Disposition, RpcRequest } from '#src/ports/rpc.ts'
import {
  type BusUnderTest,
  call,
  collect,
  ignored,
  messageOf,
  publisherOf,
  replyQueue,
  request,
  serverOf,
  serving,
  signal,
} from '../support/bus-under-test.ts'
import { eventually, inbox } from '../support/rabbit.ts'
import { testClaim } from './rpc-claim.ts'
import { testPublisher } from './rpc-publisher.ts'

/** What every RPC server and publisher must do; the bus may be RabbitMQ or memory. */
export function testRpc(adapter: string, open: (t: TestContext) => Promise<BusUnderTest>): void {
  testServer(adapter, open)
  testSettling(adapter, open)
  testClaim(adapter, open)
  testPublisher(adapter, open)
}

function testServer(adapter: string, open: (t: TestContext) => Promise<BusUnderTest>): void {
  test(`${adapter}: requests come by the topic, by the host and by fanout`, async (t) => {
    const { bus, requests } = await serving(t, open)

    await bus.send(bus.controlExchange, bus.topic, request('a'))
    await bus.send(bus.controlExchange, `${bus.topic}.host-1`, request('b'))
    await bus.send(`${bus.topic}_fanout`, '', request('c'))

    const came = [await requests.next(), await requests.next(), await requests.next()]
    const bySource = Object.fromEntries(came.map(({ source, method }) => [source, method]))
    assert.deepEqual(bySource, { topic: 'a', server: 'b', fanout: 'c' })
  })

  test(`${adapter}: a server knows when nothing of its host waits or is in hand`, async (t) => {
    const held = Promise.withResolvers<void>()
    const came = inbox<string>()
    const bus = await open(t)
    const server = serverOf(t, bus, 'host-1', publisherOf(t, bus))
    assert.deepEqual([server.session, await server.isDrained()], [null, false])
    const handler = async ({ method }: RpcRequest) => {
      came.put(method)
      await held.promise
      return ignored
    }
    await server.serve(handler, signal)

    const { session } = server
    assert.equal(await server.isDrained(), true)
    await bus.send(bus.controlExchange, `${bus.topic}.host-1`, request('held'))
    await came.next()
    assert.equal(await server.isDrained(), false)
    held.resolve()
    await eventually(() => server.isDrained(), 'it is done with')

    assert.equal(typeof session, 'number')
    assert.equal(server.session, session)
    await server.stop()
    assert.equal(server.session, null)
  })

  test(`${adapter}: what was sent while no server ran waits in the queue`, async (t) => {
    const bus = await open(t)
    const publisher = publisherOf(t, bus)
    const first = serverOf(t, bus, 'host-1', publisher)
    await first.serve(async () => ignored, signal)
    await first[Symbol.asyncDispose]()
    const second = serverOf(t, bus, 'host-1', publisher)
    const requests = inbox<RpcRequest>()

    await bus.send(bus.controlExchange, `${bus.topic}.host-1`, request('late'))
    await second.serve(collect(requests), signal)

    assert.equal((await requests.next()).method, 'late')
  })

  test(`${adapter}: a call is answered with all that oslo looks for`, async (t) => {
    const { bus } = await serving(t, open, async () => ({ kind: 'answered', result: [true] }))
    await bus.declareQueue(replyQueue(bus))

    await bus.send(bus.controlExchange, bus.topic, request('a', call(replyQueue(bus))))

    const reply = messageOf(await bus.next(replyQueue(bus)))
    assert.match(String(reply['_unique_id']), /^[0-9a-f]{32}$/)
    assert.deepEqual(
      { ...reply, _unique_id: null },
      { result: [true], failure: null, ending: true, _msg_id: 'msg-1', _unique_id: null },
    )
  })

  test(`${adapter}: a caller without oslo learns of acceptance by reply_to`, async (t) => {
    const accepted: Disposition = { kind: 'accepted', jobId: 'job', backupId: 'backup' }
    const { bus } = await serving(t, open, async () => accepted)
    await bus.declareQueue(replyQueue(bus))
    const bare = JSON.stringify({ method: 'create_backup', args: {} })

    await bus.send(bus.controlExchange, bus.topic, bare, {
      replyTo: replyQueue(bus),
      correlationId: '7',
    })

    const { body, properties } = await bus.next(replyQueue(bus))
    assert.deepEqual(JSON.parse(body.toString()), {
      result: { accepted: true, backup_id: 'backup' },
      failure: null,
    })
    assert.equal(properties.correlationId, '7')
    assert.equal(properties.contentType, 'application/json')
  })

  test(`${adapter}: a caller with oslo is not answered at acceptance`, async (t) => {
    const answers: Disposition[] = [
      { kind: 'accepted', jobId: 'job', backupId: 'backup' },
      { kind: 'answered', result: 'second' },
    ]
    const { bus } = await serving(t, open, async () => answers.shift() ?? ignored)
    await bus.declareQueue(replyQueue(bus))

    await bus.send(bus.controlExchange, bus.topic, request('a', call(replyQueue(bus))))
    await bus.send(bus.controlExchange, bus.topic, request('b', call(replyQueue(bus))))

    assert.equal(messageOf(await bus.next(replyQueue(bus)))['result'], 'second')
  })

  test(`${adapter}: a cast, and a call that names no queue, are served and not answered`, async (t) => {
    const { bus } = await serving(t, open, async ({ method }) => ({
      kind: 'answered',
      result: method,
    }))
    await bus.declareQueue(replyQueue(bus))

    await bus.send(bus.controlExchange, bus.topic, request('cast'))
    await bus.send(bus.controlExchange, bus.topic, request('lost', { _msg_id: 'msg-1' }))
    await bus.send(bus.controlExchange, bus.topic, request('asked', call(replyQueue(bus))))

    assert.equal(messageOf(await bus.next(replyQueue(bus)))['result'], 'asked')
  })

  test(`${adapter}: two servers share the topic, and each request runs once`, async (t) => {
    const bus = await open(t)
    const publisher = publisherOf(t, bus)
    const requests = inbox<string>()
    const hosts = new Set<string>()
    for (const host of ['host-1', 'host-2']) {
      await serverOf(t, bus, host, publisher).serve(async ({ method }) => {
        hosts.add(host)
        requests.put(method)
        return ignored
      }, signal)
    }
    const sent = Array.from({ length: 20 }, (_, index) => `method${index}`)

    for (const method of sent) await bus.send(bus.controlExchange, bus.topic, request(method))

    const came: string[] = []
    while (came.length < sent.length) came.push(await requests.next())
    assert.deepEqual(came.toSorted(), sent.toSorted())
    assert.deepEqual([...hosts].toSorted(), ['host-1', 'host-2'])
  })

  test(`${adapter}: a server that takes no shared work leaves it to another`, async (t) => {
    const { bus, server, requests } = await serving(t, open)
    const publisher = publisherOf(t, bus)
    const others = inbox<RpcRequest>()
    server.takeShared(false)
    await bus.send(bus.controlExchange, `${bus.topic}.host-1`, request('own'))
    assert.equal((await requests.next()).method, 'own')

    await bus.send(bus.controlExchange, bus.topic, request('shared'))
    const other = serverOf(t, bus, 'host-2', publisher)
    await other.serve(collect(others), signal)
    assert.equal((await others.next()).method, 'shared')

    await other.stop()
    server.takeShared(true)
    await bus.send(bus.controlExchange, bus.topic, request('again'))
    assert.equal((await requests.next()).method, 'again')
  })

  test(`${adapter}: no more shared work is taken once the handler says so`, async (t) => {
    const bus = await open(t)
    const publisher = publisherOf(t, bus)
    const busy = serverOf(t, bus, 'host-1', publisher)
    const mine = inbox<string>()
    const others = inbox<string>()
    await busy.serve(async ({ method }) => {
      busy.takeShared(false)
      mine.put(method)
      return ignored
    }, signal)
    for (const method of ['a', 'b', 'c']) {
      await bus.send(bus.controlExchange, bus.topic, request(method))
    }
    assert.equal(await mine.next(), 'a')

    await serverOf(t, bus, 'host-2', publisher).serve(async ({ method }) => {
      others.put(method)
      return ignored
    }, signal)

    assert.deepEqual([await others.next(), await others.next()].toSorted(), ['b', 'c'])
    assert.equal(mine.count, 0)
  })
}

function testSettling(adapter: string, open: (t: TestContext) => Promise<BusUnderTest>): void {
  test(`${adapter}: a refusal is answered as a failure and does not come again`, async (t) => {
    let runs = 0
    const { bus } = await serving(t, open, async ({ method }) => {
      runs += 1
      if (method === 'good') return { kind: 'answered', result: null }
      throw new AgentError('BACKUP_INVALID_STATE', 'the backup is available')
    })
    await bus.declareQueue(replyQueue(bus))

    await bus.send(bus.controlExchange, bus.topic, request('bad', call(replyQueue(bus))))
    await bus.send(bus.controlExchange, bus.topic, request('good', call(replyQueue(bus))))

    const refused = messageOf(await bus.next(replyQueue(bus)))
    const failure = JSON.parse(String(refused['failure']))
    assert.equal(refused['result'], null)
    assert.equal(failure.class, 'InvalidBackup')
    assert.equal(failure.module, 'cinder.exception')
    assert.deepEqual(failure.args, ['the backup is available'])
    assert.equal(messageOf(await bus.next(replyQueue(bus)))['failure'], null)
    assert.equal(runs, 2)
  })

  test(`${adapter}: the same _unique_id runs once and is answered once`, async (t) => {
    let runs = 0
    const { bus } = await serving(t, open, async ({ method }) => {
      runs += 1
      return { kind: 'answered', result: method }
    })
    await bus.declareQueue(replyQueue(bus))
    const same = request('a', { ...call(replyQueue(bus)), _unique_id: 'f'.repeat(32) })

    await bus.send(bus.controlExchange, `${bus.topic}.host-1`, same)
    await bus.send(bus.controlExchange, `${bus.topic}.host-1`, same)
    assert.equal(messageOf(await bus.next(replyQueue(bus)))['result'], 'a')
    await bus.send(bus.controlExchange, `${bus.topic}.host-1`, same)
    await bus.send(bus.controlExchange, `${bus.topic}.host-1`, request('b', call(replyQueue(bus))))

    assert.equal(messageOf(await bus.next(replyQueue(bus)))['result'], 'b')
    assert.equal(runs, 2)
  })

  test(`${adapter}: what the journal could not take comes again by itself`, async (t) => {
    const refusals = [new AgentError('JOURNAL_UNAVAILABLE', 'disk full')]
    const requests = inbox<RpcRequest>()
    const { bus } = await serving(t, open, async (came) => {
      const refusal = refusals.shift()
      if (refusal !== undefined) throw refusal
      requests.put(came)
      return ignored
    })

    await bus.send(bus.controlExchange, `${bus.topic}.host-1`, request('a'))
    await bus.send(bus.controlExchange, bus.topic, request('b'))

    const came = [await requests.next(), await requests.next()]
    assert.deepEqual(came.map(({ method }) => method).toSorted(), ['a', 'b'])
    assert.ok(came.some(({ redelivered }) => redelivered))
  })

  test(`${adapter}: a request refused because the agent stops is left for the next`, async (t) => {
    const bus = await open(t)
    const publisher = publisherOf(t, bus)
    const refused = inbox<string>()
    const first = serverOf(t, bus, 'host-1', publisher)
    await first.serve(async ({ method }) => {
      void first.stop()
      refused.put(method)
      throw new AgentError('AGENT_STOPPING', 'the agent stops')
    }, signal)
    await bus.send(bus.controlExchange, `${bus.topic}.host-1`, request('a'))
    await refused.next()
    await first[Symbol.asyncDispose]()

    const requests = inbox<RpcRequest>()
    await serverOf(t, bus, 'host-1', publisher).serve(collect(requests), signal)

    const { method, redelivered } = await requests.next()
    assert.deepEqual({ method, redelivered }, { method: 'a', redelivered: true })
  })

  test(`${adapter}: stopping settles what is in hand and leaves the rest`, async (t) => {
    const bus = await open(t)
    const publisher = publisherOf(t, bus)
    await bus.declareQueue(replyQueue(bus))
    const first = serverOf(t, bus, 'host-1', publisher)
    const begun = inbox<string>()
    const gate = Promise.withResolvers<Disposition>()
    await first.serve(({ method }) => {
      begun.put(method)
      return gate.promise
    }, signal)
    await bus.send(bus.controlExchange, bus.topic, request('held', call(replyQueue(bus))))
    await begun.next()

    const stopped = first.stop()
    await bus.send(bus.controlExchange, bus.topic, request('rest'))
    gate.resolve({ kind: 'answered', result: 'done' })
    await stopped

    assert.equal(messageOf(await bus.next(replyQueue(bus)))['result'], 'done')
    const requests = inbox<RpcRequest>()
    await serverOf(t, bus, 'host-1', publisher).serve(collect(requests), signal)
    assert.equal((await requests.next()).method, 'rest')
  })

  const poison: readonly [string, string][] = [
    ['broken JSON', '{"method": '],
    ['a list', '[1, 2]'],
    ['an envelope of another version', '{"oslo.version": "2.1", "oslo.message": "{}"}'],
    ['an envelope around an object', '{"oslo.version": "2.0", "oslo.message": {}}'],
    ['no method', '{"args": {}}'],
    ['arguments that are a list', '{"method": "a", "args": []}'],
    ['a body over the limit', JSON.stringify({ method: 'a', args: { text: 'x'.repeat(70_000) } })],
  ]
  for (const [what, body] of poison) {
    test(`${adapter}: ${what} is dropped and the next message is served`, async (t) => {
      const { bus, requests } = await serving(t, open)

      await bus.send(bus.controlExchange, bus.topic, body)
      await bus.send(bus.controlExchange, bus.topic, request('good'))

      assert.equal((await requests.next()).method, 'good')
    })
  }
}
