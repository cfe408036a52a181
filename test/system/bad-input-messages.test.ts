// Messages that no sender should send: each is told of, harms nothing, and the next one is served.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Json, JsonObject } from '#src/domain/json.ts'
import { drivenAgent, wholeFile } from '../support/driven-agent.ts'
import {
  assertRefused,
  assertRejected,
  assertServes,
  bareRequest,
  plainBackup,
} from '../support/good-message.ts'
import { eventually } from '../support/rabbit.ts'
import { steadyPeer } from '../support/steady-peer.ts'
import { noise } from '../support/volume-data.ts'
import { storedFiles } from '../support/volume-files.ts'

const agent = await drivenAgent(wholeFile, { cinder_backup_agent: { message_max: 262_144 } })
const { scheduler } = agent
const peer = await steadyPeer(wholeFile, agent.vhost.amqpUrl)

const record = () => agent.asked('3220c896-be94-4fa5-9e6f-c9c39554130b')

const envelope = (version: Json, message: Json) =>
  JSON.stringify({ 'oslo.version': version, 'oslo.message': message })

const deepJson = (depth: number) =>
  `{"method":"create_backup","args":{"backup":${'['.repeat(depth)}${']'.repeat(depth)}}}`

/** The first line of the log that holds `text`, from the character `from` on. */
async function nextLine(from: number, text: string): Promise<string> {
  const lines = () => agent.agent.log().slice(from).split('\n').slice(0, -1)
  const line = () => lines().find((one) => one.includes(text))
  await eventually(() => line() !== undefined, `a line of the log with: ${text}`)
  return line() ?? ''
}

/** Name, body, content type, and what the log must say of it. */
const poison: readonly (readonly [string, string | Buffer, RegExp, string?])[] = [
  ['broken JSON', '{"method": "create_backup", "args"', /is not JSON at position/],
  ['an empty body', '', /is not JSON/],
  ['no JSON at all', 'create_backup please', /is not JSON/],
  ['an array', '[1, 2, 3]', /is not a JSON object/],
  ['text that is not UTF-8', Buffer.from([0x7b, 0xff, 0xfe, 0x7d]), /is not UTF-8/],
  ['an envelope of version 3', envelope('3.0', '{}'), /the envelope has version \\?"3\.0/],
  ['an envelope of no version', envelope({}, '{}'), /the envelope has version/],
  ['an envelope around no text', envelope('2.0', { method: 'x' }), /a message that is not text/],
  ['an envelope around broken JSON', envelope('2.0', '{"method"'), /enveloped message is not JSON/],
  ['an envelope around an array', envelope('2.0', '[]'), /enveloped message is not a JSON object/],
  ['no method', '{"args": {}}', /names no method/],
  ['arguments that are a list', '{"method": "create_backup", "args": []}', /are not an object/],
  ['100,000 nested brackets', deepJson(30_000), /nests deeper than 2200 levels/],
  ['a pickle', 'gASVDQAAAAAAAAB9lIwBYZRLAXMu', /content type/, 'application/x-python-serialize'],
  ['a body over message_max', `{"a": "${'x'.repeat(262_144)}"}`, /more than message_max 262144/],
]

for (const [name, body, said, contentType] of poison) {
  test(`${name} is rejected for good, and told of in at most 1 KiB`, async () => {
    const from = agent.agent.log().length
    const properties = contentType === undefined ? {} : { contentType }
    await peer.raw(body, 'cinder-backup', properties as object)
    const line = await nextLine(from, 'a message was rejected')
    assert.match(line, said)
    assert.match(line, /WARNING.*body_bytes=\d+ body_sha256=[0-9a-f]{64}/)
    assert.ok(line.length <= 1024, `${line.length} characters`)
    await assertServes(agent)
  })
}

test('what was rejected is not in a queue any more', async () => {
  for (const { name, messages } of await agent.vhost.queues()) {
    if (name.startsWith('cinder-backup')) assert.equal(messages, 0, name)
  }
})

const methods: readonly (readonly [string, string, JsonObject, RegExp])[] = [
  ['an unknown method', 'make_coffee', {}, /does not support RPC method make_coffee/],
  ['a private name', '_create_backup', {}, /_create_backup/],
  ['a name of Object.prototype', 'constructor', {}, /does not support RPC method constructor/],
  ['a dunder', '__class__', {}, /__class__/],
]

for (const [name, method, args, said] of methods) {
  test(`${name} is refused as oslo refuses it`, async () => {
    await assertRejected(scheduler.send(method, args), 'METHOD_UNKNOWN', said)
    await assertServes(agent)
  })
}

const missing: readonly (readonly [string, JsonObject, RegExp])[] = [
  ['create_backup', {}, /create_backup\(\) missing 1 required positional argument: 'backup'/],
  ['delete_backup', {}, /delete_backup\(\) missing 1 required positional argument: 'backup'/],
  [
    'restore_backup',
    { backup: plainBackup(record()) },
    /restore_backup\(\) missing .* 'volume_id'/,
  ],
  ['create_backup', { backup: null }, /missing argument: backup/],
  ['create_backup', { backup: {} }, /missing argument: backup\.id/],
  ['create_backup', { backup: { id: record().id } }, /missing argument: backup\.volume_id/],
]

for (const [method, args, said] of missing) {
  test(`${method} lacks an argument: ${said.source}`, async () => {
    await assertRejected(scheduler.send(method, args), 'ARGUMENT_MISSING', said)
    await assertServes(agent)
  })
}

/** Fields of the record, and what the refusal says of them. */
const wrong: readonly (readonly [JsonObject, RegExp])[] = [
  [{ id: 'backup-1' }, /backup\.id is not a UUID: "backup-1"/],
  [{ id: '../../etc/passwd' }, /backup\.id is not a UUID/],
  [{ id: 42 }, /backup\.id is not a UUID: 42/],
  [{ volume_id: "3220c896'; DROP TABLE jobs" }, /backup\.volume_id is not a UUID/],
  [{ volume_id: { $ne: null } }, /backup\.volume_id is not a UUID: an object/],
  [{ parent_id: 'the last one' }, /backup\.parent_id is not a UUID/],
  [{ snapshot_id: '*' }, /backup\.snapshot_id is not a UUID/],
  [{ size: '1' }, /backup\.size is not a whole number: "1"/],
  [{ size: -1 }, /backup\.size is not a whole number: -1/],
  [{ size: 1.5 }, /backup\.size is not a whole number/],
  [{ size: 1e300 }, /backup\.size is not a whole number/],
  [{ object_count: [1] }, /backup\.object_count is not a whole number: an array/],
  [{ container: 7 }, /backup\.container is not a string: 7/],
  [{ service_metadata: ['a'] }, /backup\.service_metadata is not a string/],
  [{ status: 'almost' }, /backup\.status is not a status of a backup: "almost"/],
  [{ status: 1 }, /backup\.status is not a status/],
  [{ created_at: 'yesterday' }, /backup\.created_at is not an ISO 8601 time/],
  [{ metadata: { a: 1 } }, /backup\.metadata is not an object of strings/],
  [{ deleted: 'no' }, /backup\.deleted is not true or false/],
]

for (const [fields, said] of wrong) {
  test(`a field of the wrong kind is refused by name: ${JSON.stringify(fields)}`, async () => {
    for (const method of ['create_backup', 'delete_backup']) {
      const args = { backup: plainBackup(record(), fields) }
      await assertRejected(scheduler.send(method, args), 'ARGUMENT_INVALID', said)
    }
    await assertServes(agent)
  })
}

const wrongArguments: readonly (readonly [string, JsonObject, RegExp])[] = [
  ['create_backup', { backup: 'all of them' }, /argument backup is not a backup: "all of them"/],
  ['create_backup', { backup: ['a'] }, /argument backup is not a backup: an array/],
  [
    'create_backup',
    { backup: { 'versioned_object.name': 'Volume', 'versioned_object.data': {} } },
    /is a versioned object named "Volume", not Backup/,
  ],
  [
    'create_backup',
    { backup: { 'versioned_object.name': 'Backup', 'versioned_object.version': '2.0' } },
    /has version "2\.0", not 1\.x/,
  ],
  [
    'create_backup',
    { backup: { 'versioned_object.name': 'Backup' } },
    /has no versioned_object.data/,
  ],
  ['restore_backup', { volume_id: 'vol-1' }, /volume_id must be a uuid, got "vol-1"/],
  ['restore_backup', { volume_id: null }, /volume_id must be a uuid, got null/],
  ['restore_backup', { volume_id: ['a'] }, /volume_id must be a uuid/],
  ['create_backup', { volume_meta: 'not json' }, /volume_meta/],
  ['create_backup', { volume_meta: 7 }, /volume_meta/],
]

for (const [method, args, said] of wrongArguments) {
  test(`an argument of the wrong kind is refused by name: ${method} ${said.source}`, async () => {
    const status = method === 'restore_backup' ? 'available' : 'creating'
    const sent = { backup: plainBackup(record(), { status }), ...args }
    await assertRejected(scheduler.send(method, sent), 'ARGUMENT_INVALID', said)
    await assertServes(agent)
  })
}

test('volume_is_new that is no boolean is refused by name', async () => {
  const args = {
    backup: plainBackup(record(), { status: 'available' }),
    volume_id: record().volume_id,
    volume_is_new: 'yes',
  }
  const said = /volume_is_new must be true or false, got "yes"/
  await assertRejected(scheduler.send('restore_backup', args), 'ARGUMENT_INVALID', said)
  await assertServes(agent)
})

const statuses = [
  ['create', 'available'],
  ['create', 'error'],
  ['create', 'deleting'],
  ['create', 'restoring'],
  ['restore', 'creating'],
  ['restore', 'error'],
  ['restore', 'deleted'],
] as const

for (const [operation, status] of statuses) {
  test(`${operation} of a backup that is ${status} is refused, and its record left as it is`, async () => {
    const asked = agent.asked(await agent.newVolume(noise('status', 4096)), { status })
    const extra = operation === 'restore' ? { volume_id: asked.volume_id } : {}
    const text = new RegExp(`${operation} backup ${asked.id} aborted: expected .* got ${status}`)
    const event = await assertRefused(
      agent,
      operation,
      { record: asked, extra },
      'BACKUP_INVALID_STATE',
      text,
    )
    assert.equal(event.payload['status'], status)
  })
}

test('a version or namespace that nobody serves is refused as oslo refuses it', async () => {
  for (const fields of [{ version: '3.0' }, { version: '2.9' }, { namespace: 'baseapi' }]) {
    const from = agent.agent.log().length
    const method = { method: 'create_backup', args: { backup: plainBackup(record()) } }
    await peer.raw(JSON.stringify(bareRequest({ ...method, ...fields })))
    await nextLine(from, 'VERSION_UNSUPPORTED')
    await assertServes(agent)
  }
})

test('numbers that JSON cannot carry, and keys that JavaScript minds, harm nothing', async () => {
  const asked = agent.asked(await agent.newVolume(noise('numbers', 4096)))
  const { id, volume_id: volumeId, project_id: projectId } = asked
  const backup = `{"id": "${id}", "volume_id": "${volumeId}", "project_id": "${projectId}",
    "size": NaN, "object_count": -Infinity, "status": "creating", "__proto__": {"size": 7},
    "display_name": "NaN", "unknown": 1e999, "huge": ${'9'.repeat(400)}}`
  const request = JSON.stringify(bareRequest({ method: 'create_backup' }))
  await peer.raw(`${request.slice(0, -1)}, "args": {"backup": ${backup}}}`)
  const { payload } = await scheduler.ended('create', id)
  assert.equal(payload['status'], 'available', String(payload['message']))
  assert.equal(payload['display_name'], 'NaN')
  assert.equal(payload['size'], 1)
  await assertServes(agent)
})

test('what a user wrote travels as it is, and is escaped in the log', async () => {
  const text = 'a\r\nX-Evil: 1\u001b[31m\u202egnp.exe\u2028'
  const from = agent.agent.log().length
  const fields = { display_name: text, display_description: text }
  const asked = agent.asked(await agent.newVolume(noise('texts', 4096)), fields)
  const request = { method: 'create_backup', args: { backup: plainBackup(asked) } }
  await peer.raw(JSON.stringify({ ...bareRequest(request), _context_request_id: text }))

  const { payload } = await scheduler.ended('create', asked.id)

  assert.equal(payload['status'], 'available', String(payload['message']))
  assert.equal(payload['display_name'], text)
  assert.equal((payload['record'] as JsonObject)['display_description'], text)
  assert.match(await nextLine(from, 'create ended'), /a\\r\\nX-Evil: 1\\u001b\[31m\\u202egnp/)
  assert.doesNotMatch(agent.agent.log().slice(from).replaceAll('\n', ''), /[\p{Cc}\u2028\u202e]/u)
  assert.doesNotMatch(agent.agent.log().slice(from), /^X-Evil/m)
})

test('a chain of a thousand nested parents is read, a longer one is refused', async () => {
  const nested = (count: number): JsonObject => {
    const ids = { id: record().id, volume_id: record().volume_id }
    let backup: JsonObject = ids
    for (let link = 1; link < count; link += 1) backup = { ...ids, parent: backup }
    return { ...ids, status: 'available', parent: backup }
  }
  const asked = (count: number) =>
    scheduler.send('restore_backup', { backup: nested(count), volume_id: 'x' })
  await assertRejected(asked(1000), 'ARGUMENT_INVALID', /volume_id must be a uuid/)
  await assertRejected(asked(1001), 'ARGUMENT_INVALID', /backup has more than 1000 ancestors/)
  await assertServes(agent)
})

test('of all these nothing is in the store but the good ones', async () => {
  const good = scheduler.events
    .filter(({ eventType }) => eventType === 'backup.create.end')
    .map(({ payload }) => String(payload['service_metadata']))
  const strays = (await storedFiles(agent.home)).filter(
    (file) => !good.some((prefix) => file.includes(prefix)),
  )
  assert.deepEqual(strays, [])
})
