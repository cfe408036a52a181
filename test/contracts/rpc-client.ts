import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import { type RecordingLog, recordingLog } from '#src/adapters/log/recording-log.ts'
import { AgentError } from '#src/domain/errors.ts'
import type { JsonObject } from '#src/domain/json.ts'
import { remoteFailureIn } from '#src/domain/remote-failure.ts'
import { monotonicMs } from '#src/lib/clock.ts'
import type { RpcRequest } from '#src/ports/rpc.ts'
import type { CallOptions, RpcCall, RpcClient } from '#src/ports/rpc-client.ts'
import { aContext } from '../support/builders.ts'
import {
  type BusUnderTest,
  collect,
  ignored,
  publisherOf,
  serverOf,
  serving,
  signal,
} from '../support/bus-under-test.ts'
import { eventually, inbox } from '../support/rabbit.ts'

type Open = (t: TestContext) => Promise<BusUnderTest>

/** What every RPC client must do, whatever the bus. */
export function testRpcClient(adapter: string, open: Open): void {
  testAnswers(adapter, open)
  testLimits(adapter, open)
  testOddAnswers(adapter, open)
}

function testAnswers(adapter: string, open: Open): void {
  test(`${adapter}: a call of ours is answered by the host, and by whoever serves the topic`, async (t) => {
    const handled = inbox<RpcRequest>()
    const { bus } = await serving(t, open, async (request) => {
      handled.put(request)
      return { kind: 'answered', result: { source: request.source } }
    })
    const client = clientOf(t, bus)
    const to = (server: string | null) =>
      client.call({ topic: bus.topic, server }, aCall({ args: { a: 1 } }), patient, signal)

    assert.deepEqual(
      [await to('host-1'), await to(null)],
      [{ source: 'server' }, { source: 'topic' }],
    )
    const { method, version, namespace, args, context, replyTo, uniqueId } = await handled.next()
    assert.deepEqual(
      { method, version, namespace, args },
      { method: 'initialize_connection', version: '2.0', namespace: null, args: { a: 1 } },
    )
    assert.equal(context.authToken, 'gAAAAAB-token')
    assert.match(String(uniqueId), /^[0-9a-f]{32}$/)
    assert.ok(replyTo?.kind === 'oslo')
    assert.match(replyTo.queue, /^reply_[0-9a-f]{32}$/)
    assert.match(replyTo.msgId, /^[0-9a-f]{32}$/)
    assert.equal(replyTo.monitorSeconds, null)
  })

  test(`${adapter}: a failure of the service says all that the service said`, async (t) => {
    const { bus } = await serving(t, open, async () => {
      throw new AgentError('BACKUP_NOT_FOUND', 'backup 1 could not be found')
    })

    const error = await refusal(callTo(clientOf(t, bus), bus))

    assert.equal(error.code, 'CALL_FAILED')
    assert.match(error.message, /^initialize_connection of .+\.host-1 failed there: cinder\.exc/)
    assert.deepEqual(remoteFailureIn(error), {
      remoteClass: 'BackupNotFound',
      remoteModule: 'cinder.exception',
      remoteMessage: 'backup 1 could not be found',
      remoteCode: 'BACKUP_NOT_FOUND',
    })
  })

  test(`${adapter}: calls at once are told apart, in whatever order their answers come`, async (t) => {
    const stage = await staged(t, open)

    const calls = Array.from({ length: 20 }, (_, index) =>
      callTo(stage.client, stage.bus, { index }),
    )
    const requests: RpcRequest[] = []
    while (requests.length < calls.length) requests.push(await stage.requests.next())
    for (const request of requests.toReversed()) {
      await stage.reply(request, { result: request.args['index'] ?? null, ending: true })
    }

    assert.deepEqual(
      await Promise.all(calls),
      calls.map((_, index) => index),
    )
    assert.equal(new Set(requests.map(({ replyTo }) => replyTo?.queue)).size, 1)
  })
}

function testLimits(adapter: string, open: Open): void {
  test(`${adapter}: a call to a host that never ran fails at once`, async (t) => {
    const bus = await open(t)
    const startMs = monotonicMs()

    const calling = clientOf(t, bus).call(
      { topic: bus.topic, server: 'nobody' },
      aCall(),
      patient,
      signal,
    )

    const error = await refusal(calling)
    assert.equal(error.code, 'CALL_UNROUTABLE')
    assert.ok(error.message.includes(`${bus.topic}.nobody`), error.message)
    assert.ok(monotonicMs() - startMs < patient.timeoutMs / 2)
  })

  test(`${adapter}: a call ends with its time, and its late answer harms nobody`, async (t) => {
    const stage = await staged(t, open)

    const error = await refusal(callTo(stage.client, stage.bus, {}, { timeoutMs: 500 }))
    const late = await stage.requests.next()
    await stage.reply(late, { result: 'late', ending: true })
    const next = callTo(stage.client, stage.bus)
    await stage.reply(await stage.requests.next(), { result: 'in time', ending: true })

    assert.equal(error.code, 'CALL_TIMED_OUT')
    assert.match(error.message, /^initialize_connection of .+\.host-1 was not answered in 0\.5 s$/)
    assert.equal(await next, 'in time')
    const told = warnings(stage.log)
    assert.deepEqual(
      told.map(({ fields }) => fields['msg_id']),
      [late.replyTo?.kind === 'oslo' ? late.replyTo.msgId : null],
    )
  })

  test(`${adapter}: a call that nobody took in its time is not served later`, async (t) => {
    const bus = await open(t)
    const publisher = publisherOf(t, bus)
    const first = serverOf(t, bus, 'host-1', publisher)
    await first.serve(async () => ignored, signal)
    await first[Symbol.asyncDispose]()
    const client = clientOf(t, bus)

    const error = await refusal(callTo(client, bus, { number: 1 }, { timeoutMs: 500 }))
    await pause(200) // A broker counts from when it has the message.
    const requests = inbox<RpcRequest>()
    await serverOf(t, bus, 'host-1', publisher).serve(collect(requests), signal)
    const second = callTo(client, bus, { number: 2 }, { timeoutMs: 1000 })
    await refusal(second)

    assert.equal(error.code, 'CALL_TIMED_OUT')
    assert.deepEqual((await requests.next()).args, { number: 2 })
    assert.equal(requests.count, 0)
  })

  test(`${adapter}: heartbeats prolong the monitor of a call, and not its time`, async (t) => {
    const stage = await staged(t, open)
    const startMs = monotonicMs()
    const beat = { result: null, failure: null, ending: false }

    const calling = callTo(stage.client, stage.bus, {}, { timeoutMs: 3000, monitorMs: 1200 })
    const refused = refusal(calling)
    const request = await stage.requests.next()
    const stop = new AbortController()
    const beating = (async () => {
      while (!stop.signal.aborted) {
        await stage.reply(request, beat)
        await pause(300)
      }
    })()
    const error = await refused
    stop.abort()
    await beating

    assert.equal(request.replyTo?.kind === 'oslo' && request.replyTo.monitorSeconds, 2)
    assert.equal(error.code, 'CALL_TIMED_OUT')
    assert.match(error.message, /was not answered in 3 s$/)
    assert.ok(monotonicMs() - startMs >= 2990)
  })

  test(`${adapter}: a monitored call ends when the service gives no sign of life`, async (t) => {
    const stage = await staged(t, open)
    const startMs = monotonicMs()

    const error = await refusal(
      callTo(stage.client, stage.bus, {}, { timeoutMs: 30_000, monitorMs: 700 }),
    )

    assert.equal(error.code, 'CALL_TIMED_OUT')
    assert.match(error.message, /gave no sign of life for 0\.7 s$/)
    assert.ok(monotonicMs() - startMs < 10_000)
  })

  test(`${adapter}: who waits for a call is told when the client closes, and may give it up`, async (t) => {
    const stage = await staged(t, open)
    const stop = new AbortController()
    const given = refusal(stage.client.call(hostOf(stage.bus), aCall(), patient, stop.signal))
    const closed = refusal(callTo(stage.client, stage.bus))
    await stage.requests.next()
    await stage.requests.next()

    stop.abort(new AgentError('OPERATION_CANCELLED', 'given up'))
    assert.equal((await given).message, 'given up')
    await stage.client[Symbol.asyncDispose]()

    assert.equal((await closed).code, 'AGENT_STOPPING')
    assert.equal((await refusal(callTo(stage.client, stage.bus))).code, 'AGENT_STOPPING')
  })
}

function testOddAnswers(adapter: string, open: Open): void {
  test(`${adapter}: an answer in two parts is one, and its copies are none`, async (t) => {
    const stage = await staged(t, open)

    const calling = callTo(stage.client, stage.bus)
    const request = await stage.requests.next()
    const first = { result: ['whole'], ending: false, _unique_id: 'a' }
    for (const part of [first, first, { result: null, ending: true, _unique_id: 'b' }]) {
      await stage.reply(request, { failure: null, ...part })
    }

    assert.deepEqual(await calling, ['whole'])
    await stage.reply(request, { result: null, ending: true, _unique_id: 'b' })
    const next = callTo(stage.client, stage.bus)
    await stage.reply(await stage.requests.next(), { result: 1, ending: true })
    assert.equal(await next, 1)
    assert.deepEqual(warnings(stage.log), [])
  })

  test(`${adapter}: an answer without envelope, and one without a result, are answers`, async (t) => {
    const stage = await staged(t, open)

    const bare = callTo(stage.client, stage.bus)
    await stage.reply(await stage.requests.next(), { result: true, ending: true }, 'bare')
    const nothing = callTo(stage.client, stage.bus)
    await stage.reply(await stage.requests.next(), { failure: null, ending: true })

    assert.deepEqual([await bare, await nothing], [true, null])
  })

  const failures: readonly [string, string | JsonObject, object][] = [
    [
      'an object',
      { class: 'VolumeNotFound', module: 'cinder.exception', message: 'gone', tb: ['secret'] },
      { remoteClass: 'VolumeNotFound', remoteModule: 'cinder.exception', remoteMessage: 'gone' },
    ],
    ['no JSON', 'it broke', { remoteClass: 'Exception', remoteMessage: '"it broke"' }],
    [
      'JSON of another kind',
      '["odd", 1]',
      { remoteClass: 'Exception', remoteMessage: '["odd",1]', remoteCode: null },
    ],
  ]
  for (const [form, failure, expected] of failures) {
    test(`${adapter}: a failure that is ${form} is a failure all the same`, async (t) => {
      const stage = await staged(t, open)

      const refused = refusal(callTo(stage.client, stage.bus))
      await stage.reply(await stage.requests.next(), { result: 'x', failure, ending: true })

      const told = remoteFailureIn(await refused)
      assert.partialDeepStrictEqual(told, expected)
      assert.ok(!JSON.stringify(told).includes('secret'))
    })
  }

  test(`${adapter}: what no call can use is dropped, and the next answer is taken`, async (t) => {
    const stage = await staged(t, open)
    const calling = callTo(stage.client, stage.bus)
    const request = await stage.requests.next()
    const queue = request.replyTo?.queue ?? ''

    for (const body of ['nonsense', '[]', '{"result": 1, "ending": true}', 'x'.repeat(70_000)]) {
      await stage.bus.send('', queue, body)
    }
    await eventually(() => warnings(stage.log).length >= 3, 'it is told, but not each time')
    await stage.reply(request, { result: 'used', ending: true })

    assert.equal(await calling, 'used')
    assert.equal(warnings(stage.log).length, 3)
  })
}

const patient: CallOptions = { timeoutMs: 20_000, monitorMs: null }

function aCall(fields: Partial<RpcCall> = {}): RpcCall {
  return {
    method: 'initialize_connection',
    version: '2.0',
    namespace: null,
    args: {},
    context: aContext(),
    ...fields,
  }
}

function hostOf(bus: BusUnderTest) {
  return { topic: bus.topic, server: 'host-1' }
}

function callTo(
  client: RpcClient,
  bus: BusUnderTest,
  args: JsonObject = {},
  options: Partial<CallOptions> = {},
) {
  return client.call(hostOf(bus), aCall({ args }), { ...patient, ...options }, signal)
}

function clientOf(t: TestContext, bus: BusUnderTest, log = recordingLog()): RpcClient {
  const client = bus.client(log)
  t.after(() => client[Symbol.asyncDispose]())
  return client
}

/** A client, and a service on `host-1` that the test plays. */
async function staged(t: TestContext, open: Open) {
  const { bus, requests } = await serving(t, open)
  const log = recordingLog()
  return {
    bus,
    log,
    requests,
    client: clientOf(t, bus, log),
    /** One message of the service to whoever asked. */
    reply: async (
      { replyTo }: RpcRequest,
      keys: JsonObject,
      form: 'enveloped' | 'bare' = 'enveloped',
    ) => {
      assert.ok(replyTo?.kind === 'oslo')
      const text = JSON.stringify({ ...keys, _msg_id: replyTo.msgId })
      const envelope = { 'oslo.version': '2.0', 'oslo.message': text }
      await bus.send('', replyTo.queue, form === 'bare' ? text : JSON.stringify(envelope))
    },
  }
}

async function refusal(calling: Promise<unknown>): Promise<AgentError> {
  const error = await calling.then(
    (result) => new Error(`it resolved to ${JSON.stringify(result)}`),
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof AgentError, String(error))
  return error
}

function warnings({ lines }: RecordingLog) {
  return lines.filter(({ level }) => level === 'warn')
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    AbortSignal.timeout(ms).addEventListener('abort', () => resolve(), { once: true })
  })
}
