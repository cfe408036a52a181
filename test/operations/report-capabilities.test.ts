import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'

import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { AgentError } from '#src/domain/errors.ts'
import { capabilityReport } from '#src/operations/report-capabilities.ts'
import type { Cast } from '#src/ports/rpc.ts'

type Sent = { readonly to: string; readonly cast: Cast }

/** A report that runs until the test says so. */
function setUp({
  hasScheduler = true,
  publish = async () => {},
  isDisabled = false as boolean | null,
} = {}) {
  const sent: Sent[] = []
  const stop = new AbortController()
  const log = recordingLog()
  const report = capabilityReport({
    intervalMs: null,
    isDisabled,
    publisher: {
      async cast({ topic }, cast) {
        await publish()
        sent.push({ to: topic, cast })
        return hasScheduler
      },
      async fanout(topic, cast) {
        sent.push({ to: `${topic}_fanout`, cast })
      },
    },
    host: 'backup-host-1',
    service: 'cinder.backup.drivers.swift.SwiftBackupDriver',
    availabilityZone: 'nova',
    log,
  })
  const running = report.run(stop.signal)
  return {
    report,
    sent,
    log,
    async stop() {
      stop.abort()
      await running
    },
  }
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await setImmediate()
}

/** A message that Cinder itself sent. */
function recorded(method: string): Record<string, unknown> {
  const file = path.join(import.meta.dirname, `../samples/wire/rpc-scheduler-${method}.json`)
  return JSON.parse(readFileSync(file, 'utf8')).message_decoded
}

test('what a scheduler is told has the keys, versions and forms of what Cinder sends', async () => {
  const { report, sent, stop } = setUp()

  report.ask()
  await until(() => sent.length === 2)
  await stop()

  const places = ['cinder-scheduler', 'cinder-scheduler_fanout']
  assert.deepEqual(
    sent.map(({ to }) => to),
    places,
  )
  const notify = recorded('notify_service_capabilities')
  const update = recorded('update_service_capabilities')
  const { capabilities } = notify['args'] as Cast['args']
  for (const [index, sample] of [notify, update].entries()) {
    const { method, version, args, context, uniqueId } = sent[index]?.cast ?? assert.fail()
    const form = { timestamp: args['timestamp'] }
    assert.equal(method, sample['method'])
    assert.equal(version, sample['version'])
    assert.deepEqual(args, { ...(sample['args'] as Cast['args']), capabilities, ...form })
    assert.match(String(form.timestamp), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$/)
    assert.match(uniqueId, /^[0-9a-f]{32}$/)
    assert.equal(context.isAdmin, true)
    assert.equal(context.authToken, null)
    assert.equal(context.values['read_deleted'], 'no')
  }
})

test('a store that goes away is told of at once', async () => {
  const { report, sent, stop } = setUp()

  report.storeIs(true)
  await until(() => sent.length === 2)
  report.storeIs(false)
  await until(() => sent.length === 4)
  await stop()

  const states = sent.map(
    ({ cast }) => (cast.args['capabilities'] as Cast['args'])['backend_state'],
  )
  assert.deepEqual(states, [true, true, false, false])
})

test('a service that is disabled is told as one that is not usable, whatever its store does', async () => {
  const { report, sent, stop } = setUp()

  const changes = [
    () => report.disabledIs(true),
    () => report.storeIs(true),
    () => report.disabledIs(false),
    () => report.storeIs(false),
    () => report.disabledIs(false),
  ]
  for (const [index, change] of changes.entries()) {
    change()
    await until(() => sent.length === 2 * (index + 1))
  }
  await stop()

  const states = sent
    .filter(({ to }) => to === 'cinder-scheduler')
    .map(({ cast }) => (cast.args['capabilities'] as Cast['args'])['backend_state'])
  assert.deepEqual(states, [false, false, true, false, false])
})

test('until it is known what an operator says of the service, nobody is told of it', async () => {
  const { report, sent, stop } = setUp({ isDisabled: null })

  for (const isThere of [true, false]) {
    report.storeIs(isThere)
    report.ask()
    for (let turns = 0; turns < 10; turns += 1) await setImmediate()
    assert.equal(sent.length, 0)
  }
  report.disabledIs(true)
  await until(() => sent.length === 2)
  await stop()

  const { cast } = sent[0] ?? assert.fail()
  assert.equal((cast.args['capabilities'] as Cast['args'])['backend_state'], false)
})

test('who ends without ever knowing whether the host was its own says nothing of it', async () => {
  const { report, sent, stop } = setUp({ isDisabled: null })

  await report.leave(AbortSignal.timeout(60_000))
  await stop()

  assert.equal(sent.length, 0)
})

test('where no scheduler listens, no exchange is made for one', async () => {
  const { report, sent, stop } = setUp({ hasScheduler: false })

  report.ask()
  await until(() => sent.length === 1)
  await stop()

  assert.equal(sent.length, 1)
})

test('however often it is asked for while one is under way, one more is sent', async () => {
  const gate = Promise.withResolvers<void>()
  const { report, sent, stop } = setUp({ publish: () => gate.promise })

  report.ask()
  await setImmediate()
  for (let count = 0; count < 1000; count += 1) report.ask()
  gate.resolve()
  await until(() => sent.length === 4)
  await setImmediate()
  await stop()

  assert.equal(sent.length, 4)
})

test('a message that cannot be sent is told of, and the next one goes out', async () => {
  let isAway = true
  const { report, sent, log, stop } = setUp({
    publish: async () => {
      if (isAway) throw new AgentError('BROKER_REFUSED', 'made up')
    },
  })

  report.ask()
  await until(() => log.lines.length > 0)
  isAway = false
  report.ask()
  await until(() => sent.length === 2)
  await stop()

  assert.equal(log.lines[0]?.level, 'warn')
})
