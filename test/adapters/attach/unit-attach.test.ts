import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type TestContext, test } from 'node:test'

import { unitAttach } from '#src/adapters/attach/unit-attach.ts'
import type { HostConnection } from '#src/ports/host-attach.ts'
import { testHostAttach } from '../../contracts/host-attach.ts'
import { attachHost, attachUnit, nobodyAttaches } from '../../support/attach-unit.ts'

const signal = AbortSignal.timeout(60_000)

testHostAttach('unitAttach', async (t) => {
  const unit = await attachUnit(t)
  return {
    attach: unitAttach({ ...attachHost, socket: unit.socket }),
    connections: () => unit.connected().length,
  }
})

const aConnection = (): HostConnection => ({
  ...{ id: `volume-${randomUUID()}`, type: 'iscsi', data: {}, access: 'read' },
})

test('where no unit runs the error names the type, the unit and what to do', async () => {
  const attach = nobodyAttaches()

  assert.equal(await attach.connector(signal), null)
  await assert.rejects(attach.connect(aConnection(), signal), {
    code: 'CONNECTION_UNSUPPORTED',
    message: /as iscsi.*cinder-backup-agent-attach\.service.*systemctl enable --now/,
  })
  await assert.rejects(attach.disconnect('volume-1', { ignoreErrors: true }, signal), {
    code: 'DETACH_FAILED',
    message: /systemctl start cinder-backup-agent-attach\.service/,
  })
})

/** Something that listens, and answers each connection so. */
async function listening(
  t: TestContext,
  answer: (peer: net.Socket, line: string) => void,
): Promise<string> {
  const folder = mkdtempSync(path.join(tmpdir(), 'cba-attach-'))
  const socket = path.join(folder, 'socket')
  const server = net.createServer((peer) => {
    peer.on('error', () => {})
    peer.once('data', (line) => answer(peer, line.toString()))
  })
  server.listen(socket)
  await new Promise((resolve) => server.once('listening', resolve))
  t.after(() => {
    server.close()
    rmSync(folder, { recursive: true })
  })
  return socket
}

const answers: readonly (readonly [string, (peer: net.Socket) => void, RegExp])[] = [
  ['nothing', (peer) => peer.end(), /ended without an answer/],
  ['no JSON', (peer) => peer.end('yes\n'), /ended without an answer/],
  ['no path', (peer) => peer.end('{"result": {}}\n'), /names no device/],
  ['too much', (peer) => peer.end('x'.repeat(2 ** 20 + 1)), /too long/],
  ['never', () => {}, /no answer in 1 s; its log says more/],
]

for (const [what, answer, message] of answers) {
  test(`a unit that answers ${what} is an error that says so`, async (t) => {
    const socket = await listening(t, answer)
    const attach = unitAttach({ ...attachHost, socket, timeoutMs: 1_000 })

    await assert.rejects(attach.connect(aConnection(), signal), { code: 'ATTACH_FAILED', message })
  })
}

test('what the options say reaches the unit', async (t) => {
  const asked: unknown[] = []
  const socket = await listening(t, (peer, line) => {
    asked.push(JSON.parse(line))
    peer.end('{"result": {"path": "/dev/null"}}\n')
  })
  const attach = unitAttach({ address: 'backup-1', isMultipath: true, scanTries: 7, socket })
  const connection = aConnection()

  await attach.connector(signal)
  await attach.connect(connection, signal)
  await attach.disconnect(connection.id, { ignoreErrors: true }, signal)

  assert.deepEqual(asked, [
    { method: 'properties', my_ip: 'backup-1', multipath: true },
    { method: 'connect', ...connection, multipath: true, tries: 7 },
    { method: 'disconnect', id: connection.id, ignore_errors: true },
  ])
})

test('who no longer wants the answer does not wait for it', async (t) => {
  const socket = await listening(t, () => {})
  const stop = new AbortController()
  const asked = unitAttach({ ...attachHost, socket }).disconnect(
    'volume-1',
    { ignoreErrors: true },
    stop.signal,
  )
  stop.abort(new Error('stopping'))

  await assert.rejects(asked, /stopping/)
})
