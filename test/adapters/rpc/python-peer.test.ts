import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import { backupFromPrimitive } from '#src/adapters/rpc/versioned-object.ts'
import { AgentError } from '#src/domain/errors.ts'
import type { JsonObject } from '#src/domain/json.ts'
import type { Disposition, RpcRequest } from '#src/ports/rpc.ts'
import { wholeFile } from '../../support/driven-agent.ts'
import { osloClient, osloListener } from '../../support/oslo.ts'
import { rabbitPeers } from '../../support/rabbit-peers.ts'
import { rabbitVhost } from '../../support/rabbit-vhost.ts'

// Debian's own oslo.messaging on the other side: what it makes of us is what counts.

const vhost = await rabbitVhost(wholeFile)
const { transportUrl } = vhost
const peers = rabbitPeers(wholeFile, { transportUrl, handler: answer, rpcPingEnabled: true })
const client = await osloClient({ transportUrl }, 'cinder-backup')
wholeFile.after(() => client[Symbol.asyncDispose]())
await peers.serve()

const failures: Readonly<Record<string, AgentError>> = {
  invalid_backup: new AgentError('BACKUP_INVALID_STATE', 'the backup is available'),
  not_found: new AgentError('BACKUP_NOT_FOUND', 'backup 1 could not be found'),
  unknown: new AgentError('METHOD_UNKNOWN', 'no such method', { method: 'unknown' }),
  version: new AgentError('VERSION_UNSUPPORTED', 'x', { method: 'version', version: '3.1' }),
  missing: new AgentError('ARGUMENT_MISSING', 'missing argument: backup'),
  store: new AgentError('STORE_UNAVAILABLE', 'swift answered 503'),
}

async function answer({ method, args, replyTo }: RpcRequest): Promise<Disposition> {
  const failure = failures[method]
  if (failure !== undefined) throw failure
  if (method === 'slow' && replyTo !== null) {
    void endSlowly(replyTo)
    return { kind: 'accepted', jobId: 'job', backupId: 'backup' }
  }
  return { kind: 'answered', result: args }
}

async function endSlowly(to: NonNullable<RpcRequest['replyTo']>): Promise<void> {
  const running = new AbortController()
  const monitored = peers.publisher.monitor(to, running.signal)
  const { promise, resolve } = Promise.withResolvers<void>()
  AbortSignal.timeout(3_500).addEventListener('abort', () => resolve())
  await promise
  running.abort()
  await monitored
  await peers.publisher.reply(to, { result: null }, AbortSignal.timeout(30_000))
}

test('a Python call is answered with what it sent', async () => {
  const args = { text: 'é☃😀', list: [1, null, true], object: { nested: 'x' } }

  assert.deepEqual(await client.call({ method: 'echo', args, version: '2.0' }), { result: args })
})

test('a Python cast reaches its host, with its context', async () => {
  const context: JsonObject = { request_id: 'req-1', auth_token: 'secret', project_id: 'project' }

  await client.cast({ method: 'cast_me', args: { a: 1 }, server: 'host-1', context })

  const came = await requestOf('cast_me')
  assert.equal(came.source, 'server')
  assert.equal(came.replyTo, null)
  assert.equal(came.context.requestId, 'req-1')
  assert.equal(came.context.authToken, 'secret')
})

test('a Python fanout reaches everyone', async () => {
  await client.cast({ method: 'all_of_you', fanout: true })

  assert.equal((await requestOf('all_of_you')).source, 'fanout')
})

test('a backup that Cinder’s serializer sends is read', async () => {
  const id = randomUUID()
  const data = {
    id,
    volume_id: randomUUID(),
    status: 'creating',
    size: 1,
    data_timestamp: '2026-11-22T10:11:12Z',
    metadata: { k: 'v' },
  }

  await client.cast({ method: 'object', args: { backup: { $object: 'Backup', data } } })

  const { args } = await requestOf('object')
  const { record } = backupFromPrimitive(args['backup'])
  assert.partialDeepStrictEqual(record, data)
})

const revived: readonly [string, string, string, RegExp][] = [
  ['invalid_backup', 'InvalidBackup_Remote', 'InvalidBackup', /the backup is available/],
  ['not_found', 'BackupNotFound_Remote', 'BackupNotFound', /backup 1 could not be found/],
  ['store', 'BackupDriverException_Remote', 'BackupDriverException', /swift answered 503/],
  ['missing', 'TypeError', 'TypeError', /missing argument: backup/],
  ['unknown', 'RemoteError', 'RemoteError', /NoSuchMethod Endpoint does not support RPC method/],
  ['version', 'RemoteError', 'RemoteError', /UnsupportedVersion .*version 3\.1\. Attempted/],
]

for (const [method, name, base, message] of revived) {
  test(`the refusal of ${method} is raised in Python as ${name}`, async () => {
    const { failure } = await client.call({ method, version: '2.0' })

    assert.equal(failure?.class, name)
    assert.ok(failure.bases.includes(base), failure.bases.join())
    assert.match(failure.message, message)
  })
}

test('a Python ping is answered', async () => {
  const { result } = await client.call({ method: 'oslo_rpc_server_ping' })

  assert.equal(result, 'pong')
})

test('a monitored Python call outlives its monitor by our heartbeats', async () => {
  const answered = await client.call({ method: 'slow', timeout: 30, call_monitor_timeout: 2 })

  assert.deepEqual(answered, { result: null })
})

test('a Python listener hears a notification, its context without a token', async () => {
  await using listener = await osloListener({ transportUrl })
  const messageId = randomUUID()

  await peers.publisher.notify(
    {
      messageId,
      uniqueId: randomUUID().replaceAll('-', ''),
      eventType: 'backup.create.error',
      priority: 'ERROR',
      payload: { backup_id: 'backup' },
      timestamp: '2026-11-23 00:20:54.573429',
      context: { project_id: 'project', auth_token: 'secret', read_deleted: 'no' },
    },
    AbortSignal.timeout(30_000),
  )

  const heard = await listener.find(({ message_id }) => message_id === messageId)
  assert.equal(heard.priority, 'error')
  assert.equal(heard.publisher_id, 'backup.host-1')
  assert.equal(heard.event_type, 'backup.create.error')
  assert.deepEqual(heard.payload, { backup_id: 'backup' })
  assert.equal(heard.context['project_id'], 'project')
  assert.equal(heard.context['auth_token'], null)
})

async function requestOf(method: string): Promise<RpcRequest> {
  while (true) {
    const request = await peers.requests.next()
    if (request.method === method) return request
  }
}
