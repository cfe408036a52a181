import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'

import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { attachments } from '#src/adapters/volumes/attachments.ts'
import { cinderVolumes } from '#src/adapters/volumes/cinder-volumes.ts'
import { hostConnector } from '#src/adapters/volumes/host-connector.ts'
import { openReader } from '#src/adapters/volumes/open-device.ts'
import { AgentError, hasCode } from '#src/domain/errors.ts'
import type { Json } from '#src/domain/json.ts'
import { callFailed } from '#src/domain/remote-failure.ts'
import { aborted, orAborted } from '#src/lib/aborted.ts'
import { withVolume } from '#src/operations/job-volumes.ts'
import type { RunOperation } from '#src/operations/operation.ts'
import { nobodyAttaches } from '../../support/attach-unit.ts'
import { aContext, aDevice, aRequest } from '../../support/builders.ts'
import { runnerBench } from '../../support/runner-bench.ts'
import { aVolume } from '../../support/state-rows.ts'

const gibibyte = 2 ** 30

/** A volume that is open, of a cinder-volume that says `answer` to every other method. */
async function opened(
  t: TestContext,
  signal: AbortSignal,
  answer: (method: string, signal: AbortSignal) => Promise<Json>,
  timeoutMs = 60_000,
  stop = new AbortController().signal,
  log = recordingLog(),
) {
  const folder = mkdtempSync(path.join(tmpdir(), 'cba-give-back-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const devicePath = path.join(folder, 'volume')
  writeFileSync(devicePath, '')
  truncateSync(devicePath, gibibyte)
  const storage = cinderVolumes({
    client: {
      call: async (_target, { method }, _options, within) =>
        method === 'initialize_connection'
          ? { driver_volume_type: 'local', data: { device_path: devicePath } }
          : answer(method, within),
      [Symbol.asyncDispose]: async () => undefined,
    },
    publisher: { cast: async () => true },
    forms: {
      ...{ backup: () => ({}), volume: () => ({}), snapshot: () => ({}) },
      device: () => aDevice(),
    },
    versionPin: async () => null,
    ...{
      connector: hostConnector('192.0.2.7'),
      attach: nobodyAttaches(),
      accelerator: null,
      timeoutMs,
      stop,
    },
  })
  const columns = aVolume('v')
  const volume = {
    ...{ id: 'v', project_id: null, host: 'storage1@lvm#pool', cluster_name: null, size: 1 },
    ...{ status: 'backing-up', previous_status: 'available', encryption_key_id: null },
    ...{ columns, metadata: {}, glanceMetadata: {} },
  }
  const asking = { context: aContext(), log }
  return storage.openSource(aDevice({ kind: 'volume' }), volume, asking, signal)
}

test('a volume whose close fails is given back all the same, and the failure is told', async (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'cba-give-back-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const devicePath = path.join(folder, 'volume')
  writeFileSync(devicePath, '')
  truncateSync(devicePath, gibibyte)
  const methods: string[] = []
  const { open } = attachments({
    client: {
      call: async (_target, { method }) => {
        methods.push(method)
        return { driver_volume_type: 'local', data: { device_path: devicePath } }
      },
      [Symbol.asyncDispose]: async () => undefined,
    },
    publisher: { cast: async () => true },
    ...{ connector: {}, attach: nobodyAttaches(), timeoutMs: 60_000 },
    stop: new AbortController().signal,
  })
  const target = { topic: 'cinder-volume.s@lvm', server: 's' }
  const what = { kind: 'volume', id: 'v', sizeGib: 1, object: {}, target } as const
  const asking = { context: aContext(), log: recordingLog() }
  const { signal } = new AbortController()
  const volume = await open(what, 'write', asking, signal, async (located) => ({
    ...(await openReader(located, { accelerator: null, signal })),
    async [Symbol.asyncDispose]() {
      throw new AgentError('VOLUME_WRITE_FAILED', 'it was not written')
    },
  }))

  await assert.rejects(async () => volume[Symbol.asyncDispose](), { code: 'VOLUME_WRITE_FAILED' })

  assert.deepEqual(methods, ['initialize_connection', 'terminate_connection', 'remove_export'])
})

test('a stop while a volume is given back is not held up by who does not answer', async (t) => {
  const stop = new AbortController()
  const asked = Promise.withResolvers<void>()
  const volume = await opened(t, stop.signal, async (_method, within) => {
    asked.resolve()
    await aborted(within)
    throw within.reason
  })
  const closing = volume[Symbol.asyncDispose]()
  await asked.promise
  const beganMs = performance.now()
  stop.abort(new AgentError('AGENT_STOPPING', 'stopping'))

  await assert.rejects(async () => closing, { code: 'AGENT_STOPPING' })

  assert.ok(performance.now() - beganMs < 9_000)
})

for (const operation of ['create', 'restore'] as const) {
  test(`a ${operation} whose volume a stop keeps from being given back goes on at the next start`, async (t) => {
    const asked = Promise.withResolvers<void>()
    const isOver: boolean[] = []
    const run: RunOperation = async ({ log }, signal) => {
      const volume = await opened(t, signal, async (_method, within) => {
        asked.resolve()
        await aborted(within)
        throw within.reason
      })
      await withVolume(volume, log, async () => void isOver.push(true))
      return { record: {} }
    }
    const bench = runnerBench({ [operation]: run })
    const { id } = bench.ask(aRequest(operation))
    await asked.promise
    await bench.stop()

    assert.deepEqual(isOver, [true])
    const left = bench.journal.unfinished().map((job) => [job.id, job.ending])
    assert.deepEqual(left, [[id, null]])
  })
}

test('a job that is cancelled while its volume is given back has ended, whatever becomes of that', async (t) => {
  const cancel = new AbortController()
  const methods: string[] = []
  const answer = async (method: string) => {
    methods.push(method)
    cancel.abort(new AgentError('OPERATION_CANCELLED', 'deleted'))
    throw new AgentError('CALL_FAILED', 'it is busy')
  }
  const volume = await opened(t, cancel.signal, answer, 500)

  await assert.rejects(async () => volume[Symbol.asyncDispose](), { code: 'DETACH_FAILED' })

  assert.deepEqual(methods, ['terminate_connection', 'remove_export'])
})

test('a stop after a cancel is not held up by a bus that is away', async (t) => {
  const [cancel, stop] = [new AbortController(), new AbortController()]
  const signal = AbortSignal.any([stop.signal, cancel.signal])
  let calls = 0
  const answer = async () => {
    calls += 1
    throw new AgentError('BROKER_UNAVAILABLE', 'it could not be sent')
  }
  const log = recordingLog()
  const volume = await opened(t, signal, answer, 500, stop.signal, log)
  cancel.abort(new AgentError('OPERATION_CANCELLED', 'deleted'))
  const closing = volume[Symbol.asyncDispose]()
  while (calls < 2) await setImmediate()
  const beganMs = performance.now()
  stop.abort(new AgentError('AGENT_STOPPING', 'stopping'))

  await assert.rejects(async () => closing, { code: 'AGENT_STOPPING' })

  assert.ok(performance.now() - beganMs < 9_000)
  assert.match(JSON.stringify(log.lines), /it stays exported/)
  assert.equal(getEventListeners(stop.signal, 'abort').length, 0)
})

test('a cinder-volume that stumbles takes the volume back at the second try', async (t) => {
  const methods: string[] = []
  const volume = await opened(t, new AbortController().signal, async (method) => {
    methods.push(method)
    if (methods.length === 1) throw new AgentError('CALL_FAILED', 'its database is away')
    return null
  })

  await volume[Symbol.asyncDispose]()

  assert.deepEqual(methods, ['terminate_connection', 'terminate_connection', 'remove_export'])
})

test('what a broker that was restarted may have lost is asked for again, what was only slow is not', async (t) => {
  const answers = [{ broker_lost: true }, { broker_lost: true }, null, { broker_lost: false }]
  let calls = 0
  const answer = async () => {
    const context = answers[calls] ?? null
    calls += 1
    if (context !== null) throw new AgentError('CALL_TIMED_OUT', 'no answer', context)
    return null
  }
  const volume = await opened(t, new AbortController().signal, answer, 500)

  await assert.rejects(async () => volume[Symbol.asyncDispose](), { code: 'DETACH_FAILED' })

  assert.equal(calls, 4) // terminate_connection three times, and remove_export once.
})

test('a cinder-volume without its database is asked again until it has it, whatever wraps its words', async (t) => {
  const failures = [
    { remoteClass: 'DBConnectionError', remoteMessage: '(pymysql.err.OperationalError) (2003, …)' },
    {
      remoteClass: 'ExportFailure',
      remoteMessage: 'Failed: (pymysql.err.OperationalError) (2013…',
    },
    null,
    { remoteClass: 'VolumeBackendAPIException', remoteMessage: 'the export is busy' },
  ]
  let calls = 0
  const answer = async () => {
    const failure = failures[calls] ?? null
    calls += 1
    if (failure === null) return null
    throw callFailed('it', { remoteModule: 'of.its', remoteCode: null, ...failure })
  }
  const volume = await opened(t, new AbortController().signal, answer, 500)

  await assert.rejects(async () => volume[Symbol.asyncDispose](), { code: 'DETACH_FAILED' })

  assert.equal(calls, 4)
})

test('a bus that is away longer than a call may take is waited for', async (t) => {
  let calls = 0
  const answer = async () => {
    calls += 1
    if (calls < 4) throw new AgentError('BROKER_UNAVAILABLE', 'it could not be sent')
    return null
  }
  const volume = await opened(t, new AbortController().signal, answer, 500)

  await volume[Symbol.asyncDispose]()

  assert.equal(calls, 5)
})

/** A cinder-volume at work on an export until the test says so, and what is asked of it meanwhile. */
async function exporting() {
  const methods: string[] = []
  const [begun, done] = [Promise.withResolvers<void>(), Promise.withResolvers<Json>()]
  const [cancel, stop] = [new AbortController(), new AbortController()]
  const { open } = attachments({
    client: {
      async call(_target, { method }, _options, within) {
        methods.push(method)
        if (method !== 'initialize_connection') return null
        begun.resolve()
        return orAborted(done.promise, within)
      },
      [Symbol.asyncDispose]: async () => undefined,
    },
    publisher: { cast: async () => true },
    ...{ connector: {}, attach: nobodyAttaches(), timeoutMs: 60_000, stop: stop.signal },
  })
  const target = { topic: 'cinder-volume.s@lvm', server: 's' }
  const what = { kind: 'volume', id: 'v', sizeGib: 1, object: {}, target } as const
  const asking = { context: aContext(), log: recordingLog() }
  const signal = AbortSignal.any([stop.signal, cancel.signal])
  const opening = open(what, 'read', asking, signal, () => assert.fail('nobody wants it'))
  const ended = opening.then(
    () => null,
    (error: unknown) => error,
  )
  await begun.promise
  return { methods, ended, done, cancel, stop }
}

const cancelled = new AgentError('OPERATION_CANCELLED', 'deleted')
const stopping = new AgentError('AGENT_STOPPING', 'stopping')
const exported = { driver_volume_type: 'local', data: { device_path: '/dev/null' } }

test('a cancel in the middle of an export takes it back once it is made', async () => {
  const { methods, ended, done, cancel } = await exporting()
  cancel.abort(cancelled)
  for (let turn = 0; turn < 50; turn++) await setImmediate()
  assert.deepEqual(methods, ['initialize_connection'])

  done.resolve(exported)

  assert.equal(await ended, cancelled)
  assert.deepEqual(methods, ['initialize_connection', 'terminate_connection', 'remove_export'])
})

test('an export that fails after a cancel is not asked for again, and taken back', async () => {
  const { methods, ended, done, cancel } = await exporting()
  cancel.abort(cancelled)

  done.reject(new AgentError('CALL_UNROUTABLE', 'nobody takes it'))

  assert.ok(hasCode(await ended, 'OPERATION_CANCELLED'))
  assert.deepEqual(methods, ['initialize_connection', 'terminate_connection', 'remove_export'])
})

for (const isCancelled of [false, true]) {
  const after = isCancelled ? ', even after a cancel' : ''
  test(`a stop in the middle of an export waits for no answer${after}`, async () => {
    const { ended, cancel, stop } = await exporting()
    if (isCancelled) cancel.abort(cancelled)
    const beganMs = performance.now()
    stop.abort(stopping)

    assert.equal(await ended, stopping)
    assert.ok(performance.now() - beganMs < 9_000)
  })
}
