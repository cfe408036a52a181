import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import { monotonicMs } from '#src/lib/clock.ts'
import type { RpcRequest } from '#src/ports/rpc.ts'
import {
  type BusUnderTest,
  collect,
  publisherOf,
  request,
  serverOf,
  serving,
  signal,
} from '../support/bus-under-test.ts'
import { inbox } from '../support/rabbit.ts'

const patient = { isTakeOver: false, waitMs: 60_000 }
const impatient = { isTakeOver: false, waitMs: 500 }

/** Whose the requests of a host are. */
export function testClaim(adapter: string, open: (t: TestContext) => Promise<BusUnderTest>): void {
  const another = (t: TestContext, bus: BusUnderTest, host: string) =>
    serverOf(t, bus, host, publisherOf(t, bus))

  test(`${adapter}: a host that nobody serves is had at once, and again`, async (t) => {
    const bus = await open(t)
    const server = another(t, bus, 'host-1')

    await server.claim(patient, signal)
    await server.serve(collect(inbox<RpcRequest>()), signal)
    await server.stop()
    await another(t, bus, 'host-1').claim(patient, signal)
  })

  test(`${adapter}: a host that another serves is refused, and stays the other's`, async (t) => {
    const { bus, requests } = await serving(t, open)
    const late = another(t, bus, 'host-1')
    const startMs = monotonicMs()

    await assert.rejects(late.claim(impatient, signal), {
      code: 'HOST_TAKEN',
      message: /1 other consumer on cinder-backup\S*\.host-1.*--take-over/,
    })

    assert.ok(monotonicMs() - startMs >= impatient.waitMs)
    await bus.send(bus.controlExchange, `${bus.topic}.host-1`, request('mine'))
    assert.equal((await requests.next()).method, 'mine')
  })

  test(`${adapter}: who serves another host of the topic is in nobody's way`, async (t) => {
    const { bus } = await serving(t, open)

    await another(t, bus, 'host-2').claim(impatient, signal)
  })

  test(`${adapter}: a host is had once the other has stopped`, async (t) => {
    const { bus, server } = await serving(t, open)
    let isHad = false
    const claiming = another(t, bus, 'host-1').claim(patient, signal)
    const had = claiming.then(() => {
      isHad = true
    })

    await assert.rejects(another(t, bus, 'host-1').claim(impatient, signal), { code: 'HOST_TAKEN' })
    assert.equal(isHad, false)
    await server.stop()

    await had
  })

  test(`${adapter}: a take-over does not wait for the other`, async (t) => {
    const { bus } = await serving(t, open)
    const late = another(t, bus, 'host-1')
    const requests = inbox<RpcRequest>()

    await late.claim({ ...patient, isTakeOver: true }, signal)
    await late.serve(collect(requests), signal)

    // Each gets some of them.
    for (const method of ['a', 'b', 'c', 'd']) {
      await bus.send(bus.controlExchange, `${bus.topic}.host-1`, request(method))
    }
    assert.equal((await requests.next()).source, 'server')
  })

  test(`${adapter}: a wait for the other ends with the signal`, async (t) => {
    const { bus } = await serving(t, open)
    const stop = new AbortController()
    const claiming = another(t, bus, 'host-1').claim(patient, stop.signal)

    stop.abort(new Error('enough'))

    await assert.rejects(claiming, { message: 'enough' })
  })
}
