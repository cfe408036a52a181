// docs/asyncapi.json against what was recorded of real services, and what the agent really sends.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'

import { backupToPrimitive } from '#src/adapters/rpc/versioned-object.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { JsonObject } from '#src/domain/json.ts'
import { agentHome, startAgent } from '../support/agent.ts'
import { assertDocumented, casesOf, complaints, nameOf, names } from '../support/asyncapi.ts'
import { aContext } from '../support/builders.ts'
import { tapPublished } from '../support/published-tap.ts'
import { eventually, plainClient } from '../support/rabbit.ts'
import { rabbitUser, rabbitVhost } from '../support/rabbit-vhost.ts'
import { recordFor, startScheduler } from '../support/scheduler.ts'
import { services } from '../support/services.ts'
import { noise } from '../support/volume-data.ts'
import { wireSamples } from '../support/wire-samples.ts'

type Client = Awaited<ReturnType<typeof plainClient>>

/** What needs a token that ends: see swift-service-token.test.ts. */
const sentElsewhere = ['Waiting']

const prefixes = ['rpc-cast-', 'rpc-call-', 'rpc-fanout-', 'rpc-scheduler-']
/** Asked for in the recordings, and nothing that the agent has. */
const foreign = ['slow']

test('requests that real services sent are as the document says', async () => {
  const samples = prefixes.flatMap(wireSamples).map((sample) => sample.message_decoded)
  const ours = samples.filter(({ method }) => !foreign.includes(String(method)))
  assert.ok(ours.length >= 8, `${ours.length}`)
  await assertDocumented(ours)
})

test('what is wrong is complained of', async () => {
  const event = { event_type: 'backup.create.end', payload: { backup_id: 'x' } }
  const [said = []] = await complaints([{ name: 'CreateEnd', value: event }])
  assert.ok(said.some((line) => /'message_id' is a required property/.test(line)))
  assert.ok(said.some((line) => /'record' is a required property/.test(line)))
})

test('every message that the agent sends is in the document, and each of the document was sent', async (t) => {
  const vhost = await rabbitVhost(t)
  const { host, port, user } = services().rabbit
  const own = await rabbitUser(t, vhost, 'own-password')
  const url = `rabbit://${own}:own-password@${host}:${port}/${encodeURIComponent(vhost.name)}`
  const home = await agentHome(t, url, { DEFAULT: { rpc_ping_enabled: 'true' } })
  const tap = await tapPublished(t, vhost, [own, user])
  const client = await plainClient(t, vhost.amqpUrl)
  await client.channel.assertExchange('openstack', 'topic', { durable: false })
  await client.channel.assertQueue('cinder-scheduler')
  await client.channel.bindQueue('cinder-scheduler', 'openstack', 'cinder-scheduler')
  await client.channel.assertQueue('answers')
  const context = aContext()
  const scheduler = await startScheduler(t, vhost.transportUrl, context)
  await startAgent(t, home)

  const record = recordFor(randomUUID(), context)
  await writeFile(path.join(home.volumes, `volume-${record.volume_id}`), noise('doc', 100_000))
  await scheduler.run('create', record)
  const full = scheduler.recordOf(record.id)
  const restoring = { ...full, status: 'restoring' } as const
  await scheduler.run('restore', restoring, { volume_id: full.volume_id })
  await scheduler.run('restore', restoring, { volume_id: randomUUID() })
  await scheduler.run('create', recordFor(randomUUID(), context))
  await otherMethods(client, full)
  const stranger = { ...full, project_id: 'f'.repeat(32) }
  await assert.rejects(scheduler.ask('delete', stranger))
  await scheduler.ended('delete', full.id)
  await callAsOslo(client, 'delete_backup', {
    backup: backupToPrimitive({ record: full, parent: null }),
  })
  await scheduler.ended('delete', full.id)
  await callAsOslo(client, 'check_support_to_force_delete', {})
  const another = { ...stranger, id: randomUUID() }
  await callAsOslo(client, 'delete_backup', {
    backup: backupToPrimitive({ record: another, parent: null }),
  })
  await callAsOslo(client, 'oslo_rpc_server_ping', {}, '1.0')
  await scheduler.send('publish_service_capabilities', {})

  const seen = () => new Set(tap.published.map(messageIn).map(nameOf))
  await eventually(
    () => names.every((name) => seen().has(name) || sentElsewhere.includes(name)),
    'each message is sent',
  ).catch(
    () => undefined, // What is missing is said below.
  )
  assert.deepEqual(
    names.filter((name) => !seen().has(name)),
    sentElsewhere,
    'never sent',
  )
  const sent = tap.published.map(messageIn)
  assert.ok(sent.flatMap(casesOf).some(({ name }) => name === 'Failure'))
  await assertDocumented(sent)
})

/** What is no backup, restore or delete, each with its good end and its bad one, of a backup that is there. */
async function otherMethods(client: Client, record: BackupRecord): Promise<void> {
  const [backup = null, creating = null, foreign = null] = [
    record,
    { ...record, status: 'creating' as const },
    { ...record, service: 'cinder.backup.drivers.nfs.NFSBackupDriver' },
  ].map((one) => backupToPrimitive({ record: one, parent: null }))
  const call = (method: string, args: JsonObject) => callAsOslo(client, method, args, '2.1')
  await call('get_log_levels', { log_request: { prefix: '' } })
  await call('set_log_levels', { log_request: { prefix: 'store', level: 'debug' } })
  const { result } = await call('export_record', { backup })
  await call('reset_status', { backup: foreign, status: 'error' })
  await call('reset_status', { backup, status: 'error' })
  const exported = result as { backup_service: string; backup_url: string }
  await call('import_record', { backup: creating, ...exported })
  await call('import_record', { backup: creating, ...exported, backup_url: 'bm8gSlNPTg==' })
}

/** A request as oslo calls. */
async function callAsOslo(
  { publish, next }: Client,
  method: string,
  args: JsonObject,
  version = '2.0',
): Promise<JsonObject> {
  const [messageId = '', uniqueId = ''] = [0, 1].map(() => randomUUID().replaceAll('-', ''))
  const body = {
    ...{ method, args, version, _msg_id: messageId, _reply_q: 'answers', _timeout: null },
    ...{ _unique_id: uniqueId, _context_project_id: aContext().projectId },
  }
  publish('openstack', 'cinder-backup', JSON.stringify(body))
  const { content } = await next('answers')
  return messageIn(`\n${content.toString('latin1')}`)
}

/** The message in what was published, out of its envelope. */
function messageIn(published: string): JsonObject {
  const text = Buffer.from(published.slice(published.indexOf('\n') + 1), 'latin1').toString()
  const outer = JSON.parse(text) as JsonObject
  const inner = outer['oslo.message']
  return typeof inner === 'string' ? JSON.parse(inner) : outer
}
