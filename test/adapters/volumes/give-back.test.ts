import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type TestContext, test } from 'node:test'

import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { attachments } from '#src/adapters/volumes/attachments.ts'
import { cinderVolumes } from '#src/adapters/volumes/cinder-volumes.ts'
import { hostConnector } from '#src/adapters/volumes/host-connector.ts'
import { openReader } from '#src/adapters/volumes/open-device.ts'
import { AgentError } from '#src/domain/errors.ts'
import type { Json } from '#src/domain/json.ts'
import { callFailed } from '#src/domain/remote-failure.ts'
import { aborted } from '#src/lib/aborted.ts'
import { nobodyAttaches } from '../../support/attach-unit.ts'
import { aContext, aDevice } from '../../support/builders.ts'
import { aVolume } from '../../support/state-rows.ts'

const gibibyte = 2 ** 30

/** A volume that is open, of a cinder-volume that says `answer` to every other method. */
async function opened(
  t: TestContext,
  signal: AbortSignal,
  answer: (method: string, signal: AbortSignal) => Promise<Json>,
  timeoutMs = 60_000,
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
    },
  })
  const columns = aVolume('v')
  const volume = {
    ...{ id: 'v', project_id: null, host: 'storage1@lvm#pool', cluster_name: null, size: 1 },
    ...{ status: 'backing-up', previous_status: 'available', encryption_key_id: null },
    ...{ columns, metadata: {}, glanceMetadata: {} },
  }
  const asking = { context: aContext(), log: recordingLog() }
  return storage.openSource(aDevice({ kind: 'volume' }), volume, asking, signal)
}

test('a volume whose close fails is given back all the same, and the failure is told', async (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'cba-give-back-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const devicePath = path.join(folder, 'volume')
  writeFileSync(devicePath, '')
  truncateSync(devicePath, gibibyte)
  const methods: string[] = []
  const attached = attachments({
    client: {
      call: async (_target, { method }) => {
        methods.push(method)
        return { driver_volume_type: 'local', data: { device_path: devicePath } }
      },
      [Symbol.asyncDispose]: async () => undefined,
    },
    publisher: { cast: async () => true },
    ...{ connector: {}, attach: nobodyAttaches(), timeoutMs: 60_000 },
  })
  const target = { topic: 'cinder-volume.s@lvm', server: 's' }
  const what = { kind: 'volume', id: 'v', sizeGib: 1, object: {}, target } as const
  const asking = { context: aContext(), log: recordingLog() }
  const { signal } = new AbortController()
  const volume = await attached(what, 'write', asking, signal, async (located) => ({
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

  await closing

  assert.ok(performance.now() - beganMs < 9_000)
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
