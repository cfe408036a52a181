import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { test } from 'node:test'

import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { rabbitDefaults } from '#src/adapters/rpc/rabbit-options.ts'
import { rabbitRpcClient } from '#src/adapters/rpc/rabbit-rpc-client.ts'
import { AgentError } from '#src/domain/errors.ts'
import type { Json, JsonObject } from '#src/domain/json.ts'
import { remoteFailureIn } from '#src/domain/remote-failure.ts'
import { monotonicMs } from '#src/lib/clock.ts'
import type { CallOptions } from '#src/ports/rpc-client.ts'
import { aContext } from '../../support/builders.ts'
import { wholeFile } from '../../support/driven-agent.ts'
import { osloServer } from '../../support/oslo.ts'
import { eventually } from '../../support/rabbit.ts'
import { rabbitVhost } from '../../support/rabbit-vhost.ts'
import { checkout } from '../../support/services.ts'

// Debian's own oslo.messaging serves, and we call it.

const vhost = await rabbitVhost(wholeFile)
const { transportUrl } = vhost
const server = await osloServer({ transportUrl }, 'cinder-backup', 'host-1')
wholeFile.after(() => server[Symbol.asyncDispose]())
const log = recordingLog()
const client = rabbitRpcClient(
  {
    transportUrl,
    rabbit: rabbitDefaults,
    controlExchange: 'openstack',
    declare: 'strict',
    messageBytesMax: 65_536,
  },
  log,
)
wholeFile.after(() => client[Symbol.asyncDispose]())

function call(
  method: string,
  args: JsonObject = {},
  options: Partial<CallOptions> = {},
  version = '2.0',
): Promise<Json> {
  return client.call(
    { topic: 'cinder-backup', server: 'host-1' },
    { method, version, namespace: null, args, context: aContext({ requestId: 'req-1' }) },
    { timeoutMs: 30_000, monitorMs: null, ...options },
    new AbortController().signal,
  )
}

async function refusal(calling: Promise<Json>): Promise<AgentError> {
  const error: unknown = await calling.then(
    (result) => new Error(`it resolved to ${JSON.stringify(result)}`),
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof AgentError, String(error))
  return error
}

test('a Python service is called with arguments and context, and its result comes back', async () => {
  const args = { text: 'é☃😀', list: [1, null, true], object: { nested: 'x' } }

  const result = await call('initialize_connection', args)

  const served = await server.served.next()
  assert.equal(served.method, 'initialize_connection')
  assert.deepEqual(result, { args: served.args, context: served.context })
  assert.deepEqual(served.args, args)
  assert.equal(served.context['request_id'], 'req-1')
  assert.equal(served.context['auth_token'], 'gAAAAAB-token')
  assert.equal(served.context['client_timeout'], null)
})

const failures: readonly [string, JsonObject, string, string, RegExp][] = [
  [
    'fail',
    { reason: 'it is in use' },
    'cinder.exception',
    'InvalidBackup',
    /^Invalid backup: it is/,
  ],
  ['fail', { reason: 'no', builtin: true }, 'builtins', 'ValueError', /^no$/],
  ['slow', {}, 'builtins', 'TypeError', /seconds/],
]
for (const [method, args, module, name, message] of failures) {
  test(`what Python raises as ${name} is told as ${name}`, async () => {
    const error = await refusal(call(method, args))

    const told = remoteFailureIn(error)
    assert.deepEqual([told?.remoteModule, told?.remoteClass], [module, name])
    assert.match(told?.remoteMessage ?? '', message)
    assert.ok(
      error.message.startsWith(`${method} of cinder-backup.host-1 failed there: ${module}.`),
    )
    assert.doesNotMatch(JSON.stringify(error.context), /Traceback/)
  })
}

test('a version that a Python service does not serve is its UnsupportedVersion', async () => {
  const error = await refusal(call('anything', {}, {}, '3.0'))

  assert.equal(remoteFailureIn(error)?.remoteClass, 'UnsupportedVersion')
})

test('a monitored call outlives its monitor by the heartbeats of Python', async () => {
  const startMs = monotonicMs()

  const result = await call('slow', { seconds: 4 }, { monitorMs: 2000 })

  assert.equal(result, 4)
  assert.ok(monotonicMs() - startMs >= 4000)
  assert.equal((await server.served.next()).context['client_timeout'], 2)
})

test('the late answer of Python is dropped, and the next call gets its own', async () => {
  const error = await refusal(call('slow', { seconds: 2 }, { timeoutMs: 500 }))
  const isLate = () => log.lines.some(({ message }) => message.includes('nobody waits for'))

  assert.equal(error.code, 'CALL_TIMED_OUT')
  assert.equal(isLate(), false)
  const next = call('slow', { seconds: 2.5 })
  await eventually(isLate, 'the late answer is told')
  assert.equal(await next, 2.5)
})

test('calls at once get what is theirs', async () => {
  const results = await Promise.all(
    Array.from({ length: 50 }, (_, index) => call('echo', { index }).then((one) => [one, index])),
  )

  for (const [result, index] of results)
    assert.deepEqual(result, { ...Object(result), args: { index } })
})

test('send calls a Python service: the result is printed, a refusal has its exit code', async (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'cba-call-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const configFile = path.join(folder, 'agent.conf')
  writeFileSync(configFile, `[DEFAULT]\ntransport_url = ${transportUrl}\n`)
  const send = (method: string, args: JsonObject, ...words: readonly string[]) =>
    sent(method, '--args', JSON.stringify(args), '--config-file', configFile, ...words)

  const [well, shown, refused, late] = await Promise.all([
    send('slow', { seconds: 1 }, '--host', 'host-1'),
    send('slow', { seconds: 1 }, '--json'),
    send('fail', { reason: 'it is in use' }),
    send('slow', { seconds: 8 }, '--timeout', '4'),
  ])

  assert.deepEqual(well, { code: 0, stdout: '1\n', stderr: '' })
  const { answer, message_type } = JSON.parse(shown.stdout)
  assert.deepEqual([answer, message_type], [1, 'accepted'])
  assert.deepEqual([refused.code, refused.stdout], [13, ''])
  assert.match(
    refused.stderr,
    /CALL_FAILED: fail of cinder-backup failed there: cinder\.exception\.InvalidBackup: Invalid backup/,
  )
  assert.equal(late.code, 1)
  assert.match(late.stderr, /CALL_TIMED_OUT: slow of cinder-backup was not answered in 4 s/)
})

type Ended = { readonly code: number; readonly stdout: string; readonly stderr: string }

function sent(...words: readonly string[]): Promise<Ended> {
  const program = path.join(checkout, 'bin/cinder-backup-agent')
  return new Promise((resolve) => {
    const env = { PATH: process.env['PATH'] ?? '' }
    execFile(program, ['send', ...words], { env, timeout: 60_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr })
    })
  })
}
