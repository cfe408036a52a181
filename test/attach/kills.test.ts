// What stays connected when either side is killed: nothing that a process which lives has not asked for.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { open, writeFile } from 'node:fs/promises'
import net from 'node:net'
import { createInterface } from 'node:readline'
import { type TestContext, test } from 'node:test'

import { unitAttach } from '#src/adapters/attach/unit-attach.ts'
import type { HostConnection } from '#src/ports/host-attach.ts'
import { type AttachUnit, attachHost, attachUnit } from '../support/attach-unit.ts'
import { eventually } from '../support/cinder-volumes.ts'
import { loopDevice } from '../support/loop-device.ts'

const mebibyte = 2 ** 20
const signal = AbortSignal.timeout(300_000)

const clientOf = ({ socket }: AttachUnit) => unitAttach({ ...attachHost, socket })

function connectionTo(device: string): HostConnection {
  const id = `volume-${randomUUID()}`
  return { id, type: 'gpfs', data: { device_path: device }, access: 'read' }
}

const requestOf = (connection: HostConnection) =>
  `${JSON.stringify({ method: 'connect', ...connection, multipath: false, tries: 1 })}\n`

const holderProgram = `
import socket, sys, time
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
peer.sendall(sys.argv[2].encode())
print(peer.makefile().readline(), flush=True)
time.sleep(600)
`

/** A process that connects, and then does nothing until it is killed. */
async function holder(t: TestContext, { socket }: AttachUnit, connection: HostConnection) {
  const words = ['-c', holderProgram, socket, requestOf(connection)]
  const child = spawn('/usr/bin/python3', words, { stdio: ['ignore', 'pipe', 'inherit'] })
  const kill = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }
  t.after(kill)
  const [text] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
  const { result } = JSON.parse(text) as { readonly result: { readonly path: string } }
  return { path: result.path, kill }
}

const nothingIsConnected = (unit: AttachUnit) =>
  eventually(async () => {
    assert.deepEqual([unit.connected(), readdirSync(unit.nodes)], [[], []])
  })

test('what a process had that was killed is disconnected, and what others have is not', async (t) => {
  const unit = await attachUnit(t)
  await using device = await loopDevice(mebibyte)
  await using other = await loopDevice(mebibyte)
  const ours = connectionTo(other.path)
  await clientOf(unit).connect(ours, signal)
  const killed = await holder(t, unit, connectionTo(device.path))
  assert.equal(unit.connected().length, 2)

  await killed.kill()

  await eventually(async () => assert.deepEqual(unit.connected(), [ours.id]))
  assert.deepEqual(readdirSync(unit.nodes), [ours.id])
  await clientOf(unit).disconnect(ours.id, { ignoreErrors: true }, signal)
})

test('what a process had that was killed is taken up by the next at once', async (t) => {
  const unit = await attachUnit(t)
  await using before = await loopDevice(mebibyte)
  await using device = await loopDevice(mebibyte)
  await writeFile(device.path, 'of the second')
  const connection = connectionTo(before.path)
  const killed = await holder(t, unit, connection)
  await assert.rejects(clientOf(unit).connect(connection, signal), { code: 'VOLUME_IN_USE' })
  await assert.rejects(clientOf(unit).disconnect(connection.id, { ignoreErrors: true }, signal), {
    code: 'VOLUME_IN_USE',
  })

  await killed.kill()
  const path = await clientOf(unit).connect(
    { ...connection, data: { device_path: device.path } },
    signal,
  )

  await using file = await open(path)
  const { buffer } = await file.read(Buffer.alloc(13), 0, 13, 0)
  assert.equal(buffer.toString(), 'of the second')
  assert.deepEqual(unit.connected(), [connection.id])
  await clientOf(unit).disconnect(connection.id, { ignoreErrors: true }, signal)
  await nothingIsConnected(unit)
})

test('a unit that is killed takes nothing from who lives, and knows it when it is there again', async (t) => {
  const unit = await attachUnit(t)
  await using device = await loopDevice(mebibyte)
  const connection = connectionTo(device.path)
  const path = await clientOf(unit).connect(connection, signal)
  await using file = await open(path)

  await unit.kill()
  await assert.rejects(clientOf(unit).disconnect(connection.id, { ignoreErrors: true }, signal), {
    code: 'DETACH_FAILED',
    message: /is not running/,
  })
  await unit.start()

  const { bytesRead } = await file.read(Buffer.alloc(512), 0, 512, 0)
  assert.equal(bytesRead, 512)
  assert.ok(existsSync(path))
  assert.deepEqual(unit.connected(), [connection.id])
  await clientOf(unit).disconnect(connection.id, { ignoreErrors: true }, signal)
  await nothingIsConnected(unit)
})

test('what a process could not disconnect does not keep it from connecting the same again', async (t) => {
  const unit = await attachUnit(t)
  await using before = await loopDevice(mebibyte)
  await using device = await loopDevice(mebibyte)
  await writeFile(device.path, 'of the second')
  const connection = connectionTo(before.path)
  const other = connectionTo(before.path)
  await clientOf(unit).connect(other, signal)
  await clientOf(unit).connect(connection, signal)
  await unit.kill('SIGTERM')
  await assert.rejects(clientOf(unit).disconnect(connection.id, { ignoreErrors: true }, signal), {
    code: 'DETACH_FAILED',
    message: /start it, and within a minute the agent has disconnected what is left/,
  })
  await unit.start()

  const data = { device_path: device.path }
  const path = await clientOf(unit).connect({ ...connection, data }, signal)

  await using file = await open(path)
  const { buffer } = await file.read(Buffer.alloc(13), 0, 13, 0)
  assert.equal(buffer.toString(), 'of the second')
  assert.deepEqual(unit.connected(), [connection.id, other.id].sort())
  for (const { id } of [connection, other]) {
    await clientOf(unit).disconnect(id, { ignoreErrors: true }, signal)
  }
  await nothingIsConnected(unit)
})

test('whoever asks a unit that was killed waits until it is back', async (t) => {
  const unit = await attachUnit(t)
  await using device = await loopDevice(mebibyte)
  const connection = connectionTo(device.path)
  await unit.kill()
  const connecting = clientOf(unit).connect(connection, signal)
  await unit.start()

  assert.ok(existsSync(await connecting))
  await clientOf(unit).disconnect(connection.id, { ignoreErrors: true }, signal)
})

test('a unit that is stopped is not waited for', async (t) => {
  const unit = await attachUnit(t)
  await unit.kill('SIGTERM')
  const beganMs = performance.now()

  assert.equal(await clientOf(unit).connector(signal), null)

  assert.ok(performance.now() - beganMs < 2_000)
})

test('where both are killed the next start disconnects', async (t) => {
  const unit = await attachUnit(t)
  await using device = await loopDevice(mebibyte)
  const killed = await holder(t, unit, connectionTo(device.path))
  await unit.kill()
  await killed.kill()
  assert.equal(readdirSync(unit.nodes).length, 1)

  await unit.start()

  await nothingIsConnected(unit)
  await eventually(async () =>
    assert.match(unit.said(), /was left connected, and is disconnected now/),
  )
})

test('a kill in the middle of a connect leaves nothing', async (t) => {
  const unit = await attachUnit(t)
  const id = `volume-${randomUUID()}`
  // os-brick looks for a device that does not come for several seconds.
  const data = {
    target_portal: '127.0.0.1:1',
    target_iqn: 'iqn.2010-10.org.example:v',
    target_lun: 1,
  }
  const connecting = clientOf(unit).connect({ id, type: 'iscsi', data, access: 'read' }, signal)
  const failed = assert.rejects(connecting, {
    code: 'ATTACH_FAILED',
    message: /without an answer|ECONNRESET/,
  })
  await eventually(async () => assert.deepEqual(unit.connected(), [id]))

  await unit.kill()
  await failed
  assert.deepEqual(unit.connected(), [id])
  await unit.start()

  await nothingIsConnected(unit)
})

test('who goes away before the answer has nothing connected', async (t) => {
  const unit = await attachUnit(t)
  await using device = await loopDevice(mebibyte)
  for (let count = 0; count < 20; count++) {
    const peer = net.connect(unit.socket, () => {
      peer.write(requestOf(connectionTo(device.path)), () => peer.destroy())
    })
    await once(peer, 'close')
  }

  await eventually(async () => {
    assert.ok((unit.said().match(/is connected by gpfs/g) ?? []).length === 20, unit.said())
  })
  await nothingIsConnected(unit)
})
