import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import type { ReplyAddress } from '#src/ports/rpc.ts'
import {
  type BusUnderTest,
  cast,
  messageOf,
  notification,
  oslo,
  publisherOf,
  replyQueue,
  serving,
  signal,
} from '../support/bus-under-test.ts'

/** What every publisher must do; see `rpc.ts`. */
export function testPublisher(
  adapter: string,
  open: (t: TestContext) => Promise<BusUnderTest>,
): void {
  test(`${adapter}: a notification is in its queue, in the form of each driver`, async (t) => {
    const bus = await open(t)
    const publisher = publisherOf(t, bus, { drivers: ['messaging', 'messagingv2'] })

    await publisher.notify(notification('INFO'), signal)
    await publisher.notify(notification('ERROR'), signal)

    const queue = `${bus.notificationTopic}.info`
    const bodies = [await bus.next(queue), await bus.next(queue)].map(({ body }) =>
      JSON.parse(body.toString()),
    )
    const enveloped = bodies.find((body) => body['oslo.version'] === '2.0')
    const bare = bodies.find((body) => body['event_type'] !== undefined)
    assert.deepEqual(JSON.parse(enveloped['oslo.message']), bare)
    assert.equal(bare['event_type'], 'backup.create.start')
    assert.equal(bare['publisher_id'], 'backup.host-1')
    assert.equal(bare['_context_project_id'], 'project')
    const error = (await bus.next(`${bus.notificationTopic}.error`)).body.toString()
    assert.match(error, /backup\.create\.start/)
  })

  test(`${adapter}: without a driver a notification goes nowhere`, async (t) => {
    const bus = await open(t)
    await bus.declareQueue(`${bus.notificationTopic}.info`)
    const silent = publisherOf(t, bus, { drivers: [] })
    const loud = publisherOf(t, bus)

    await silent.notify({ ...notification('INFO'), eventType: 'unheard' }, signal)
    await loud.notify(notification('INFO'), signal)

    const first = messageOf(await bus.next(`${bus.notificationTopic}.info`))
    assert.equal(first['event_type'], 'backup.create.start')
  })

  test(`${adapter}: a cast reaches a host that is there, and tells of one that is not`, async (t) => {
    const { bus, requests } = await serving(t, open)
    const publisher = publisherOf(t, bus)
    const to = (server: string) => publisher.cast({ topic: bus.topic, server }, cast(bus), signal)

    assert.equal(await to('nobody'), false)
    assert.equal(await to('host-1'), true)

    const came = await requests.next()
    assert.equal(came.method, 'delete_backup')
    assert.deepEqual(came.args, { passed_on: true })
    assert.equal(came.context.authToken, 'secret')
    assert.equal(came.context.values['roles'], 'member')
    assert.deepEqual(came.replyTo, oslo(replyQueue(bus)))
  })

  test(`${adapter}: an answer waits for its queue, and holds up no other`, async (t) => {
    const bus = await open(t)
    const publisher = publisherOf(t, bus)
    await bus.declareQueue(replyQueue(bus, 2))

    const late = publisher.reply(oslo(replyQueue(bus)), { result: 'late' }, signal)
    assert.equal(await publisher.reply(oslo(replyQueue(bus, 2)), { result: 'now' }, signal), true)
    assert.equal(messageOf(await bus.next(replyQueue(bus, 2)))['result'], 'now')
    await bus.declareQueue(replyQueue(bus))

    assert.equal(await late, true)
    assert.equal(messageOf(await bus.next(replyQueue(bus)))['result'], 'late')
  })

  test(`${adapter}: a reply queue that stays away is given up and remembered`, async (t) => {
    const bus = await open(t)
    const publisher = publisherOf(t, bus, { replyRetrySeconds: 0.5 })

    assert.equal(await publisher.reply(oslo(replyQueue(bus)), { result: 1 }, signal), false)
    await bus.declareQueue(replyQueue(bus))

    assert.equal(await publisher.reply(oslo(replyQueue(bus)), { result: 2 }, signal), false)
  })

  test(`${adapter}: a monitored call gets heartbeats, and none after its answer`, async (t) => {
    const bus = await open(t)
    const publisher = publisherOf(t, bus)
    const to: ReplyAddress = { ...oslo(replyQueue(bus)), monitorSeconds: 2 }
    await bus.declareQueue(replyQueue(bus))
    const running = new AbortController()

    const monitored = publisher.monitor(to, running.signal)
    const beat = messageOf(await bus.next(replyQueue(bus)))
    running.abort()
    await monitored
    await publisher.reply(to, { result: 'done' }, signal)

    assert.deepEqual(
      { ...beat, _unique_id: null },
      { result: null, failure: null, ending: false, _msg_id: 'msg-1', _unique_id: null },
    )
    assert.equal(messageOf(await bus.next(replyQueue(bus)))['result'], 'done')
  })

  test(`${adapter}: calls that want no heartbeats get none`, async (t) => {
    const bus = await open(t)
    const publisher = publisherOf(t, bus)
    for (const monitorSeconds of [null, 0, 1]) {
      await publisher.monitor({ ...oslo(replyQueue(bus)), monitorSeconds }, signal)
    }
  })

  test(`${adapter}: who waits for a publisher that closes is told so`, async (t) => {
    const bus = await open(t)
    const publisher = publisherOf(t, bus)
    const waiting = publisher.reply(oslo(replyQueue(bus)), { result: 1 }, signal)
    const refused = assert.rejects(waiting, { code: 'AGENT_STOPPING' })

    await publisher[Symbol.asyncDispose]()

    await refused
  })
}
