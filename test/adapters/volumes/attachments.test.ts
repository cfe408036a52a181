// The order in which a volume comes to this host and leaves it, and what becomes of it where a step fails.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { unitAttach } from '#src/adapters/attach/unit-attach.ts'
import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { cinderVolumes } from '#src/adapters/volumes/cinder-volumes.ts'
import { hostConnector } from '#src/adapters/volumes/host-connector.ts'
import { AgentError } from '#src/domain/errors.ts'
import type { Json, JsonObject } from '#src/domain/json.ts'
import type { HostAttach } from '#src/ports/host-attach.ts'
import { exportedAs, volumeRow } from '../../contracts/block-storage.ts'
import {
  type AttachUnit,
  attachHost,
  attachUnit,
  nobodyAttaches,
} from '../../support/attach-unit.ts'
import { aContext, aDevice } from '../../support/builders.ts'
import { eventually } from '../../support/cinder-volumes.ts'
import { type LoopDevice, loopDevice } from '../../support/loop-device.ts'

const gibibyte = 2 ** 30
const signal = AbortSignal.timeout(300_000)
const backEnd = ['terminate_connection', 'remove_export']

type Called = { readonly method: string; readonly args: JsonObject }

/** Storage whose cinder-volume says `answer` to each method. */
function storageOf(attach: HostAttach, answer: (called: Called) => Json, timeoutMs = 30_000) {
  const called: Called[] = []
  const storage = cinderVolumes({
    client: {
      call: async (_target, { method, args }) => {
        called.push({ method, args })
        return answer({ method, args })
      },
      [Symbol.asyncDispose]: async () => undefined,
    },
    publisher: { cast: async () => true },
    forms: {
      ...{ backup: () => ({}), volume: () => ({}), snapshot: () => ({}) },
      device: () => aDevice(),
    },
    versionPin: async () => null,
    ...{ connector: hostConnector('192.0.2.7'), attach, accelerator: null, timeoutMs },
    ...{ retryMs: 200, stop: new AbortController().signal },
  })
  const log = recordingLog()
  const asking = { context: aContext(), log }
  const methods = () => called.map(({ method }) => method)
  return { storage, called, methods, log, asking }
}

const clientOf = ({ socket }: AttachUnit) => unitAttach({ ...attachHost, socket })

async function aLoopDevice(t: TestContext): Promise<LoopDevice> {
  const device = await loopDevice(gibibyte)
  t.after(() => device[Symbol.asyncDispose]())
  return device
}

test('a volume leaves this host before its backend, which is told of the same host', async (t) => {
  const unit = await attachUnit(t)
  const device = await aLoopDevice(t)
  const left: unknown[] = []
  const { storage, called, methods, asking } = storageOf(clientOf(unit), ({ method }) => {
    if (method === 'initialize_connection') return exportedAs('gpfs', device.path)
    left.push(unit.connected())
    return null
  })

  const target = await storage.openTarget(volumeRow(), asking, signal)
  assert.equal(unit.connected().length, 1)
  await target.write(0, Buffer.from('restored'))
  await target.sync()
  await target[Symbol.asyncDispose]()

  assert.deepEqual(methods(), ['initialize_connection', ...backEnd])
  assert.deepEqual(left, [[], []])
  const connector = (called[0]?.args['connector'] ?? {}) as JsonObject
  assert.equal(connector['ip'], '192.0.2.7')
  assert.ok('initiator' in connector)
  assert.deepEqual(connector, called[1]?.args['connector'])
  assert.equal(called[1]?.args['force'], true)
})

test('a volume that is attached for one job is refused to another, and stays', async (t) => {
  const unit = await attachUnit(t)
  const device = await aLoopDevice(t)
  const { storage, methods, asking } = storageOf(clientOf(unit), () =>
    exportedAs('gpfs', device.path),
  )
  const source = aDevice()
  const volume = await storage.openSource(source, volumeRow(), asking, signal)

  await assert.rejects(storage.openSource(source, volumeRow(), asking, signal), {
    code: 'VOLUME_IN_USE',
    message: /attached for another job/,
  })

  assert.deepEqual(methods(), ['initialize_connection'])
  assert.equal(unit.connected().length, 1)
  await volume[Symbol.asyncDispose]()
  await (await storage.openSource(source, volumeRow(), asking, signal))[Symbol.asyncDispose]()
})

test('what the unit cannot connect is taken back by the backend', async (t) => {
  const unit = await attachUnit(t)
  const { storage, methods, asking } = storageOf(clientOf(unit), () =>
    exportedAs('gpfs', '/nowhere/at/all'),
  )

  await assert.rejects(storage.openSource(aDevice(), volumeRow(), asking, signal), {
    code: 'ATTACH_FAILED',
    message: /cinder-backup-agent-attach\.service did not do connect .*\/nowhere\/at\/all/,
  })

  assert.deepEqual(methods(), ['initialize_connection', ...backEnd])
  assert.deepEqual(unit.connected(), [])
})

test('a unit that is killed meanwhile is waited for, and then the volume is given back', async (t) => {
  const unit = await attachUnit(t)
  const device = await aLoopDevice(t)
  const { storage, methods, asking } = storageOf(clientOf(unit), () =>
    exportedAs('gpfs', device.path),
  )
  const volume = await storage.openSource(aDevice(), volumeRow(), asking, signal)
  await unit.kill()
  await volume.read(0, Buffer.alloc(512))

  const closing = volume[Symbol.asyncDispose]()
  await sleep(1_000)
  assert.deepEqual(methods(), ['initialize_connection'])
  await unit.start()
  await closing

  assert.deepEqual(methods(), ['initialize_connection', ...backEnd])
  assert.deepEqual(unit.connected(), [])
})

/** A volume that was backed up, and cannot be disconnected: the unit was stopped meanwhile. */
async function leftConnected(t: TestContext) {
  const unit = await attachUnit(t)
  const device = await aLoopDevice(t)
  const bench = storageOf(clientOf(unit), () => exportedAs('gpfs', device.path), 3_000)
  const source = aDevice()
  const open = () => bench.storage.openSource(source, volumeRow(), bench.asking, signal)
  const volume = await open()
  await unit.kill('SIGTERM')

  await assert.rejects(async () => volume[Symbol.asyncDispose](), {
    code: 'DETACH_FAILED',
    message: /is not running: start it/,
  })
  return { ...bench, unit, open, source }
}

test('what cannot be disconnected stays exported: behind its device another volume might come', async (t) => {
  const { methods, unit } = await leftConnected(t)

  assert.deepEqual(methods(), ['initialize_connection'])
  assert.equal(unit.connected().length, 1)
})

test('what could not be disconnected is tried on, and given back when it is', async (t) => {
  const { storage, methods, unit, log, source } = await leftConnected(t)
  const end = new AbortController()
  const running = storage.run(end.signal)
  await eventually(async () => assert.match(JSON.stringify(log.lines), /trying on/))
  assert.deepEqual(methods(), ['initialize_connection'])
  await assert.rejects(storage.checkReleased(source, signal), {
    code: 'DETACH_FAILED',
    message: /is attached to this host still/,
  })

  await unit.start()

  await eventually(async () => assert.deepEqual(methods(), ['initialize_connection', ...backEnd]))
  assert.deepEqual(unit.connected(), [])
  await sleep(1_000)
  end.abort()
  await running
  assert.equal(methods().length, 3)
  await storage.checkReleased(source, signal)
})

test('what could be neither opened nor disconnected is tried on too', async () => {
  let isBusy = true
  const stop = new AbortController()
  const attach: HostAttach = {
    ...nobodyAttaches(),
    connect: async () => '/nowhere/at/all',
    async disconnect(id, { ignoreErrors }) {
      assert.equal(ignoreErrors, false) // It was to be written.
      stop.abort(new AgentError('AGENT_STOPPING', 'nobody waits a minute'))
      if (isBusy) throw new AgentError('DETACH_FAILED', `${id} is busy`)
    },
  }
  const { storage, methods, asking } = storageOf(attach, () => exportedAs('gpfs', '/dev/null'))
  const volume = volumeRow()
  await assert.rejects(storage.openTarget(volume, asking, stop.signal), {
    code: 'VOLUME_NOT_FOUND',
  })
  await assert.rejects(storage.checkReleased({ kind: 'volume', id: volume.id }, signal), {
    code: 'DETACH_FAILED',
  })
  assert.deepEqual(methods(), ['initialize_connection'])
  const end = new AbortController()
  const running = storage.run(end.signal)
  await sleep(500)
  assert.deepEqual(methods(), ['initialize_connection'])
  isBusy = false
  await eventually(async () => assert.deepEqual(methods(), ['initialize_connection', ...backEnd]))
  end.abort()
  await running
})

test('what is disconnected at last, and not taken back, is told of and no longer kept', async (t) => {
  const device = await aLoopDevice(t)
  let isBusy = true
  const attach: HostAttach = {
    ...nobodyAttaches(),
    connect: async () => device.path,
    async disconnect() {
      if (isBusy) throw new AgentError('DETACH_FAILED', 'it is busy')
    },
  }
  const answer = ({ method }: Called) => {
    if (method === 'initialize_connection') return exportedAs('gpfs', device.path)
    throw new AgentError('CALL_FAILED', 'it knows no such volume')
  }
  const { storage, methods, log, asking } = storageOf(attach, answer, 500)
  const source = aDevice()
  const volume = await storage.openSource(source, volumeRow(), asking, signal)
  await assert.rejects(async () => volume[Symbol.asyncDispose](), { code: 'DETACH_FAILED' })
  isBusy = false
  const end = new AbortController()
  const running = storage.run(end.signal)
  await eventually(async () => storage.checkReleased(source, signal))
  await sleep(500)
  end.abort()
  await running

  assert.deepEqual(methods(), ['initialize_connection', ...backEnd])
  assert.ok(
    log.lines.some(({ level, message }) => level === 'error' && /still exported/.test(message)),
  )
})

test('what an earlier life of the agent left is released once the unit says so', async () => {
  let isConnected = true
  const attach: HostAttach = {
    ...nobodyAttaches(),
    connector: async () => ({}),
    async disconnect(id) {
      if (isConnected) throw new AgentError('DETACH_FAILED', `${id} is busy`)
    },
  }
  const { storage } = storageOf(attach, () => null)
  const device = { kind: 'snapshot', id: 's' } as const
  await assert.rejects(storage.checkReleased(device, signal), { message: 'snapshot-s is busy' })
  isConnected = false
  await storage.checkReleased(device, signal)
  await storageOf(nobodyAttaches(), () => null).storage.checkReleased(device, signal)
})

test('what could not be disconnected is given back before the next job attaches it', async (t) => {
  const { methods, unit, open } = await leftConnected(t)
  await assert.rejects(open(), {
    code: 'ATTACH_FAILED',
    message: /is connected to this host still, from an earlier job: .* is not running/,
  })
  assert.deepEqual(methods(), ['initialize_connection'])

  await unit.start()
  const volume = await open()

  const once = ['initialize_connection', ...backEnd]
  assert.deepEqual(methods(), [...once, 'initialize_connection'])
  await volume[Symbol.asyncDispose]()
  assert.deepEqual(methods(), [...once, ...once])
  assert.deepEqual(unit.connected(), [])
})

test('what another process has is neither disconnected nor given back for it', async () => {
  const attach: HostAttach = {
    ...nobodyAttaches(),
    connect: () => Promise.reject(new AgentError('VOLUME_IN_USE', 'process 7 has it')),
    disconnect: () => assert.fail('it is not ours'),
  }
  const { storage, methods, asking } = storageOf(attach, () => exportedAs('gpfs', '/dev/null'))

  await assert.rejects(storage.openSource(aDevice(), volumeRow(), asking, signal), {
    code: 'VOLUME_IN_USE',
  })

  assert.deepEqual(methods(), ['initialize_connection'])
})

test('an agent that stops leaves the rest to the unit, and the backend to its next start', async (t) => {
  const unit = await attachUnit(t)
  const device = await aLoopDevice(t)
  const { storage, methods, log, asking } = storageOf(clientOf(unit), () =>
    exportedAs('gpfs', device.path),
  )
  const stop = new AbortController()
  const volume = await storage.openSource(aDevice(), volumeRow(), asking, stop.signal)
  await unit.kill()
  stop.abort(new AgentError('AGENT_STOPPING', 'stopping'))
  const beganMs = performance.now()

  await assert.rejects(async () => volume[Symbol.asyncDispose](), { code: 'AGENT_STOPPING' })

  assert.ok(performance.now() - beganMs < 9_000)
  assert.match(JSON.stringify(log.lines), /left attached for the next start/)
  assert.deepEqual(methods(), ['initialize_connection'])
})

test('where no unit runs the error of a backend that needs an initiator says so', async () => {
  const { storage, methods, asking } = storageOf(nobodyAttaches(), ({ method }) => {
    if (method !== 'initialize_connection') return null
    throw new AgentError('CALL_FAILED', 'the connector has no initiator')
  })

  await assert.rejects(storage.openSource(aDevice(), volumeRow(), asking, signal), {
    code: 'ATTACH_FAILED',
    message: /has no initiator \(cinder-backup-agent-attach\.service is not running/,
  })

  assert.deepEqual(methods(), ['initialize_connection', ...backEnd])
})
