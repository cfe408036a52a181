import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { test } from 'node:test'

import { monotonicMs } from '#src/lib/clock.ts'
import { sdNotify } from '#src/lib/sd-notify.ts'
import { startPeer } from '../support/python.ts'

const signal = AbortSignal.timeout(30_000)

/** A service manager's socket, and what comes on it. */
async function openSocket() {
  await using stack = new AsyncDisposableStack()
  const folder = mkdtempSync(path.join(tmpdir(), 'cba-notify-'))
  stack.defer(() => rmSync(folder, { recursive: true }))
  const socket = path.join(folder, 'notify')
  const peer = stack.use(startPeer('notify_socket.py', [socket]))
  assert.equal(await peer.line(signal), 'listening')
  const open = stack.move()
  return {
    env: { NOTIFY_SOCKET: socket },
    heard: async () => JSON.parse((await peer.line(signal)) ?? '""') as string,
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  }
}

test('the service manager hears what is said, in order', async () => {
  await using manager = await openSocket()
  {
    await using supervisor = sdNotify(manager.env)
    supervisor.ready()
    supervisor.watchdog()
    supervisor.stopping()
  }

  assert.equal(await manager.heard(), 'READY=1')
  assert.equal(await manager.heard(), 'WATCHDOG=1')
  assert.equal(await manager.heard(), 'STOPPING=1')
})

test('a status is said at most once an interval, and then the last one', async () => {
  await using manager = await openSocket()
  const intervalMs = 400
  await using supervisor = sdNotify(manager.env, intervalMs)

  supervisor.status('0 running')
  const first = await manager.heard()
  const startMs = monotonicMs()
  for (let number = 1; number <= 50; number += 1) supervisor.status(`${number} running`)
  const second = await manager.heard()

  assert.equal(first, 'STATUS=0 running')
  assert.equal(second, 'STATUS=50 running')
  assert.ok(monotonicMs() - startMs > intervalMs / 2)
})

test('a status cannot smuggle in another word', async () => {
  await using manager = await openSocket()
  await using supervisor = sdNotify(manager.env)

  supervisor.status('busy\nREADY=1')

  assert.equal(await manager.heard(), 'STATUS=busy READY=1')
})

test('disposing does not wait for a status that is not due', async () => {
  await using manager = await openSocket()
  const startMs = monotonicMs()
  {
    await using supervisor = sdNotify(manager.env, 60_000)
    supervisor.status('first')
    await manager.heard()
    supervisor.status('second')
  }

  assert.ok(monotonicMs() - startMs < 10_000)
})

for (const env of [{}, { NOTIFY_SOCKET: '' }, { NOTIFY_SOCKET: '/no/such/socket' }]) {
  test(`nothing fails with ${JSON.stringify(env)}`, async () => {
    await using supervisor = sdNotify(env)

    supervisor.ready()
    supervisor.status('x')
    supervisor.stopping()
  })
}

const watchdogs: readonly (readonly [Record<string, string>, number | null])[] = [
  [{ WATCHDOG_USEC: '120000000' }, 40_000],
  [{ WATCHDOG_USEC: '120000000', WATCHDOG_PID: String(process.pid) }, 40_000],
  [{ WATCHDOG_USEC: '120000000', WATCHDOG_PID: '1' }, null],
  [{ WATCHDOG_USEC: '0' }, null],
  [{ WATCHDOG_USEC: 'often' }, null],
  [{}, null],
]

for (const [env, ms] of watchdogs) {
  test(`the watchdog is due every ${ms} ms with ${JSON.stringify(Object.keys(env))} ${ms === null ? Object.values(env) : ''}`, async () => {
    await using supervisor = sdNotify({ NOTIFY_SOCKET: '/no/such/socket', ...env })

    assert.equal(supervisor.watchdogMs, ms)
  })
}
