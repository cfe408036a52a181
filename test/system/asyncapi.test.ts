// docs/asyncapi.json against what was recorded of real services, and what the agent really sends.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'

import { backupToPrimitive } from '#src/adapters/rpc/versioned-object.ts'
import type { Json, JsonObject } from '#src/domain/json.ts'
import { agentHome, startAgent } from '../support/agent.ts'
import { aContext } from '../support/builders.ts'
import { tapPublished } from '../support/published-tap.ts'
import { runPeer } from '../support/python.ts'
import { eventually, plainClient } from '../support/rabbit.ts'
import { rabbitUser, rabbitVhost } from '../support/rabbit-vhost.ts'
import { recordFor, startScheduler } from '../support/scheduler.ts'
import { checkout, services } from '../support/services.ts'
import { noise } from '../support/volume-data.ts'
import { wireSamples } from '../support/wire-samples.ts'

type Schema = { readonly properties?: Record<string, { readonly const?: string }> }
type Document = {
  readonly channels: Record<string, { readonly messages: Record<string, unknown> }>
  readonly components: { readonly schemas: Record<string, Schema> }
}

const document: Document = JSON.parse(
  readFileSync(path.join(checkout, 'docs/asyncapi.json'), 'utf8'),
)
const { schemas } = document.components
const names = Object.values(document.channels).flatMap(({ messages }) => Object.keys(messages))

/** The message of the document whose `key` is fixed to `value`. */
const nameBy = (key: string, value: Json | undefined) =>
  names.find((name) => schemas[name]?.properties?.[key]?.const === value) ?? `no ${key} ${value}`

/** Which message of the document this one must be. */
function nameOf(message: JsonObject): string {
  if (message['event_type'] !== undefined) return nameBy('event_type', message['event_type'])
  if (message['method'] !== undefined) return nameBy('method', message['method'])
  return message['_msg_id'] === undefined ? 'AmqpReply' : 'OsloReply'
}

type Case = { readonly name: string; readonly value: Json }

/** Each message under its name, and the failure that an oslo reply carries as text. */
function casesOf(message: JsonObject): readonly Case[] {
  const { failure } = message
  const inner = typeof failure === 'string' ? [{ name: 'Failure', value: JSON.parse(failure) }] : []
  return [{ name: nameOf(message), value: message }, ...inner]
}

/** What the schemas say against each case. */
async function complaints(cases: readonly Case[]): Promise<readonly string[][]> {
  const asked = cases.map(({ name, value }) => ({ schema: `#/components/schemas/${name}`, value }))
  const known = cases.filter(({ name }) => schemas[name] === undefined).map(({ name }) => name)
  assert.deepEqual(known, [], 'not in the document')
  return (await runPeer('json_schema.py', { input: { document, cases: asked } })) as string[][]
}

async function assertDocumented(messages: readonly JsonObject[]): Promise<void> {
  const cases = messages.flatMap(casesOf)
  const said = await complaints(cases)
  const wrong = said.flatMap((lines, i) => (lines.length > 0 ? [{ ...cases[i], lines }] : []))
  assert.deepEqual(wrong, [])
}

const prefixes = ['rpc-cast-', 'rpc-call-', 'rpc-fanout-', 'rpc-scheduler-']
/** Asked for in the recordings, and nothing that the agent has. */
const foreign = ['slow', 'export_record']

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
  await eventually(() => names.every((name) => seen().has(name)), 'each message is sent').catch(
    () => undefined, // What is missing is said below.
  )
  assert.deepEqual(
    names.filter((name) => !seen().has(name)),
    [],
    'never sent',
  )
  const sent = tap.published.map(messageIn)
  assert.ok(sent.flatMap(casesOf).some(({ name }) => name === 'Failure'))
  await assertDocumented(sent)
})

/** A request as oslo calls. */
async function callAsOslo(
  { publish, next }: Awaited<ReturnType<typeof plainClient>>,
  method: string,
  args: JsonObject,
  version = '2.0',
): Promise<void> {
  const [messageId = '', uniqueId = ''] = [0, 1].map(() => randomUUID().replaceAll('-', ''))
  const body = {
    ...{ method, args, version, _msg_id: messageId, _reply_q: 'answers', _timeout: null },
    ...{ _unique_id: uniqueId, _context_project_id: aContext().projectId },
  }
  publish('openstack', 'cinder-backup', JSON.stringify(body))
  await next('answers')
}

/** The message in what was published, out of its envelope. */
function messageIn(published: string): JsonObject {
  const text = Buffer.from(published.slice(published.indexOf('\n') + 1), 'latin1').toString()
  const outer = JSON.parse(text) as JsonObject
  const inner = outer['oslo.message']
  return typeof inner === 'string' ? JSON.parse(inner) : outer
}
