// `send` as a process against a real RabbitMQ; the agent is played by the test.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { type TestContext, test } from 'node:test'

import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { rabbitDefaults } from '#src/adapters/rpc/rabbit-options.ts'
import { rabbitPublisher } from '#src/adapters/rpc/rabbit-publisher.ts'
import { connectRabbitServer } from '#src/adapters/rpc/rabbit-rpc-server.ts'
import { backupFromPrimitive } from '#src/adapters/rpc/versioned-object.ts'
import type { BackupRecord, BackupStatus } from '#src/domain/backup-record.ts'
import { monotonicMs } from '#src/lib/clock.ts'
import type { RpcRequest } from '#src/ports/rpc.ts'
import { anEvent, aRecord } from '../support/builders.ts'
import { inbox } from '../support/rabbit.ts'
import { type RabbitVhost, rabbitVhost } from '../support/rabbit-vhost.ts'
import { checkout } from '../support/services.ts'

const program = path.join(checkout, 'bin/cinder-backup-agent')
const signal = AbortSignal.timeout(120_000)

type Ended = { readonly code: number; readonly stdout: string; readonly stderr: string }
type Scene = { readonly vhost: RabbitVhost; readonly folder: string; readonly configFile: string }

async function scene(t: TestContext): Promise<Scene> {
  const vhost = await rabbitVhost(t)
  const folder = mkdtempSync(path.join(tmpdir(), 'cba-send-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const configFile = path.join(folder, 'agent.conf')
  writeFileSync(configFile, `[DEFAULT]\ntransport_url = ${vhost.transportUrl}\n`)
  return { vhost, folder, configFile }
}

function send({ configFile }: Scene, ...words: readonly string[]): Promise<Ended> {
  return run(program, ['send', ...words, '--config-file', configFile])
}

function run(file: string, words: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const env = { PATH: process.env['PATH'] ?? '' }
    execFile(file, words, { env, timeout: 60_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr })
    })
  })
}

/** An agent that takes every request and does what the test says. */
async function standIn(t: TestContext, { vhost }: Scene) {
  const common = {
    transportUrl: vhost.transportUrl,
    rabbit: rabbitDefaults,
    controlExchange: 'openstack',
    declare: 'strict',
    host: 'host-1',
  } as const
  const notifications = {
    transportUrl: null,
    topics: ['notifications'],
    drivers: ['messagingv2'],
  } as const
  const publisher = rabbitPublisher({ ...common, notifications }, recordingLog())
  t.after(() => publisher[Symbol.asyncDispose]())
  const limits = { prefetch: 4, messageBytesMax: 65_536, rpcPingEnabled: false }
  const options = { ...common, ...limits, topic: 'cinder-backup' }
  const server = connectRabbitServer(options, publisher, recordingLog())
  t.after(() => server[Symbol.asyncDispose]())
  const requests = inbox<RpcRequest>()
  await server.serve(async (request) => {
    requests.put(request)
    return { kind: 'accepted', jobId: 'job', backupId: 'backup' }
  }, signal)
  return {
    requests,
    leave: () => server.stop(),
    async tell(eventType: string, record: BackupRecord, payload: object = {}) {
      const { id: backup_id, status } = record
      const event = anEvent(eventType)
      await publisher.notify(
        { ...event, payload: { backup_id, status, record, ...payload } },
        signal,
      )
    },
  }
}

function recordOf({ args }: RpcRequest, status: BackupStatus): BackupRecord {
  return { ...backupFromPrimitive(args['backup']).record, status, host: 'host-1' }
}

const volumeId = randomUUID()

test('send follows a create to its end and keeps the record', async (t) => {
  const stage = await scene(t)
  const agent = await standIn(t, stage)
  const file = path.join(stage.folder, 'full.json')

  const sending = send(stage, 'create_backup', '--volume-id', volumeId, '--record', file)
  const request = await agent.requests.next()
  await agent.tell('backup.create.start', recordOf(request, 'creating'), { run: 'r1' })
  await agent.tell('backup.create.error', recordOf(request, 'error'), { run: 'of another' })
  await agent.tell('backup.create.end', recordOf(request, 'available'), { run: 'r1' })
  const { code, stdout, stderr } = await sending

  assert.deepEqual([code, stderr], [0, ''])
  assert.match(
    stdout,
    /accepted\nnotification backup\.create\.start .*\nnotification backup\.create\.end /,
  )
  assert.equal(JSON.parse(readFileSync(file, 'utf8')).status, 'available')
})

test('send waits for the restore onto its own volume, not for another of the same backup', async (t) => {
  const stage = await scene(t)
  const agent = await standIn(t, stage)
  const file = path.join(stage.folder, 'full.json')
  const record = aRecord({ status: 'available' })
  writeFileSync(file, JSON.stringify(record))

  const sending = send(stage, 'restore_backup', '--record', file, '--volume-id', volumeId)
  await agent.requests.next()
  await agent.tell('backup.restore.end', { ...record, restore_volume_id: randomUUID() })
  const ours = { ...record, restore_volume_id: volumeId }
  await agent.tell('backup.restore.error', ours, { code: 'CHUNK_CORRUPT', message: 'made up' })
  const { code, stderr } = await sending

  assert.deepEqual([code, stderr], [14, 'failed: CHUNK_CORRUPT: made up\n'])
})

test('a connection that is lost while send follows ends it, and it says what goes on', async (t) => {
  const stage = await scene(t)
  const agent = await standIn(t, stage)
  const file = path.join(stage.folder, 'full.json')

  const sending = send(stage, 'create_backup', '--volume-id', volumeId, '--record', file, '--json')
  await agent.requests.next()
  await stage.vhost.closeConnections()
  const { code, stderr } = await sending

  assert.equal(code, 1)
  assert.match(
    stderr,
    /BROKER_UNAVAILABLE: the connection to the broker was lost \(.+\): the agent goes on; a create or delete that is sent again joins it/,
  )
})

test('a request that no agent has room for waits in the queue, until --timeout', async (t) => {
  const stage = await scene(t)
  const { leave } = await standIn(t, stage)
  await leave()
  const file = path.join(stage.folder, 'full.json')

  const { code, stderr } = await send(
    stage,
    'create_backup',
    '--volume-id',
    volumeId,
    '--record',
    file,
    '--timeout',
    '1',
  )

  assert.equal(code, 1)
  assert.match(stderr, /the create has not ended in 1 s; it goes on, or waits in the queue/)
  const [queue] = (await stage.vhost.queues()).filter(({ name }) => name === 'cinder-backup')
  assert.equal(queue?.messages, 1)
})

test('where no agent ever was, send says so at once', async (t) => {
  const stage = await scene(t)

  const { code, stderr } = await send(stage, 'check_support_to_force_delete', '--host', 'nobody')

  assert.equal(code, 1)
  assert.match(
    stderr,
    /CALL_UNROUTABLE: no agent takes messages at cinder-backup\.nobody: is it running/,
  )
})

test('a record that could not be kept is told before anything is asked for', async (t) => {
  const stage = await scene(t)
  const file = path.join(stage.folder, 'missing/full.json')

  const { code, stderr } = await send(
    stage,
    'create_backup',
    '--volume-id',
    volumeId,
    '--record',
    file,
  )

  assert.equal(code, 2)
  assert.match(stderr, /cannot write the record \S+full\.json: ENOENT/)
})

test('a progress bar holds nobody: send ends in time on a terminal too', async (t) => {
  const stage = await scene(t)
  const agent = await standIn(t, stage)
  const file = path.join(stage.folder, 'full.json')
  const words = ['create_backup', '--volume-id', volumeId, '--record', file, '--timeout', '4']
  const command = [program, 'send', ...words, '--config-file', stage.configFile].join(' ')

  const startMs = monotonicMs()
  const sending = run('script', ['--quiet', '--return', '--command', command, '/dev/null'])
  const record = recordOf(await agent.requests.next(), 'creating')
  await agent.tell('backup.createprogress', record, { backup_percent: 50 })
  const { code, stdout } = await sending

  assert.equal(code, 1)
  assert.match(stdout, /50%/)
  assert.ok(stdout.includes('\u001b[?25h'), 'the cursor is shown again')
  assert.ok(monotonicMs() - startMs < 20_000)
})
