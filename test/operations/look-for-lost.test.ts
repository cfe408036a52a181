import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { type MemoryBus, memoryBus } from '#src/adapters/rpc/memory-bus.ts'
import { memoryPublisher, memoryRpcServer } from '#src/adapters/rpc/memory-rpc.ts'
import { osloProperties } from '#src/adapters/rpc/oslo-envelope.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import { AgentError } from '#src/domain/errors.ts'
import { monotonicMs } from '#src/lib/clock.ts'
import { lookForLost } from '#src/operations/look-for-lost.ts'
import type { RequestHandler } from '#src/ports/rpc.ts'
import { aRecord } from '../support/builders.ts'
import { request } from '../support/bus-under-test.ts'
import { eventually } from '../support/rabbit.ts'

const queue = 'cinder-backup.host-1'

/** A server on a bus in memory, and the look at its rows: `rows` are those that nobody has in hand. */
async function looking(
  t: TestContext,
  grace: { readonly soonMs: number; readonly lateMs: number; readonly promptUntilMs?: number },
  handler?: RequestHandler,
) {
  const bus = memoryBus()
  const log = recordingLog()
  const controlExchange = 'openstack'
  const publisher = memoryPublisher(
    bus,
    { controlExchange, publisherId: 'p', topics: [], drivers: [], replyRetrySeconds: 1 },
    log,
  )
  const server = memoryRpcServer(
    bus,
    {
      ...{ controlExchange, topic: 'cinder-backup', host: 'host-1', prefetch: 1 },
      ...{ messageBytesMax: 65_536, rpcPingEnabled: false },
    },
    publisher,
    log,
  )
  const end = new AbortController()
  await server.serve(handler ?? (async () => ({ kind: 'ignored' })), end.signal)
  const rows = [aRecord({ status: 'creating' }), aRecord({ status: 'restoring' })]
  const swept: BackupRecord[] = []
  let reads = 0
  const running = lookForLost(
    {
      ...{ server, promptUntilMs: Number.POSITIVE_INFINITY, ...grace, lookMs: 2, log },
      left: async () => {
        reads += 1
        return rows
      },
      sweep: async (left) => void swept.push(...left),
    },
    end.signal,
  )
  t.after(async () => {
    end.abort()
    await running
    await server[Symbol.asyncDispose]()
  })
  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
  return { bus, swept, rows, reads: () => reads, pause }
}

async function send(bus: MemoryBus, method: string): Promise<void> {
  const message = { exchange: '', routingKey: queue, body: Buffer.from(request(method)) }
  await bus.publish({ ...message, properties: osloProperties }, new AbortController().signal)
}

test('rows that outlast the grace time are ended, once for each time that the broker was away', async (t) => {
  const { bus, swept, rows, reads, pause } = await looking(t, { soonMs: 30, lateMs: 30 })

  await eventually(async () => swept.length === 2, 'the first of them')
  assert.deepEqual(swept, rows)
  await pause(80)
  assert.deepEqual([swept.length, reads()], [2, 1])
  bus.goDown()
  await pause(20)
  bus.comeBack()

  await eventually(async () => swept.length === 4, 'and those of the outage')
  await pause(80)
  assert.deepEqual([swept.length, reads()], [4, 2])
})

test('what the API sent to this host itself is ended sooner at the start, not after an outage', async (t) => {
  const { bus, swept, rows, reads, pause } = await looking(t, { soonMs: 1, lateMs: 60_000 })
  const [, restoring] = rows

  await eventually(async () => swept.length === 1, 'the one that no scheduler had')
  assert.deepEqual(swept, [restoring])
  bus.goDown()
  await pause(20)
  bus.comeBack()
  await eventually(async () => reads() === 2, 'the rows are read again')
  await pause(80)

  assert.equal(swept.length, 1)
})

test('a broker that was away at the start may have others come back to it later than us', async (t) => {
  const grace = { soonMs: 1, lateMs: 60_000, promptUntilMs: monotonicMs() }
  const { swept, reads, pause } = await looking(t, grace)

  await eventually(async () => reads() === 1, 'the rows are read')
  await pause(80)

  assert.equal(swept.length, 0)
})

test('nothing is ended before the grace time, and none while the broker is away', async (t) => {
  const { bus, swept, reads, pause } = await looking(t, { soonMs: 60_000, lateMs: 60_000 })

  await eventually(async () => reads() === 1, 'the rows are read')
  await pause(50)
  bus.goDown()
  await pause(50)

  assert.deepEqual([swept.length, reads()], [0, 1])
})

test('nothing is ended while a request waits or is in hand', async (t) => {
  const done = Promise.withResolvers<void>()
  const handler: RequestHandler = async () => {
    await done.promise
    return { kind: 'ignored' }
  }
  const { bus, swept, reads, pause } = await looking(t, { soonMs: 1, lateMs: 1 }, handler)
  for (const method of ['in hand', 'waits']) await send(bus, method)
  await eventually(async () => reads() === 1, 'the rows are read')
  await pause(60)
  assert.equal(swept.length, 0)

  done.resolve()

  await eventually(async () => swept.length === 2, 'they are ended once it is empty')
})

test('nothing is ended while nothing can be taken, for the journal cannot be written', async (t) => {
  const { bus, swept, pause } = await looking(t, { soonMs: 20, lateMs: 20 }, async () => {
    throw new AgentError('JOURNAL_UNAVAILABLE', 'the disk is full')
  })
  await send(bus, 'put back')

  await pause(150)

  assert.equal(swept.length, 0)
  assert.equal(bus.count(queue), 1)
})
