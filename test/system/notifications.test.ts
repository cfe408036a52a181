import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'

import type { Json, JsonObject } from '#src/domain/json.ts'
import { aContext } from '../support/builders.ts'
import { chunkBytes, drivenAgent, wholeFile } from '../support/driven-agent.ts'
import { ofType, tapNotifications } from '../support/notification-tap.ts'
import { stockNotifications } from '../support/stock-notifications.ts'
import { diskBytes, noise } from '../support/volume-data.ts'

const userId = randomUUID().replaceAll('-', '')
const projectId = randomUUID().replaceAll('-', '')
const startMessage = stockNotifications()[0]?.message ?? {}

/** As the recorded requests had it: what Cinder's API sends, and so what comes back in events. */
const context = aContext({
  userId,
  projectId,
  authToken: 'gAAAAAB-a-token-of-a-user',
  serviceCatalog: [{ type: 'object-store', name: 'swift', endpoints: [{ publicURL: 'http://s' }] }],
  values: Object.fromEntries(
    Object.entries(startMessage)
      .filter(([key]) => key.startsWith('_context_'))
      .map(([key, value]) => [key.slice('_context_'.length), value])
      .filter(([key]) => key !== 'auth_token' && key !== 'service_catalog'),
  ),
})

// Half a dozen requests a second, so that there is progress to tell of; plain chunks, to count bytes.
const agent = await drivenAgent(
  wholeFile,
  {
    DEFAULT: { backup_compression_algorithm: 'none' },
    cinder_backup_agent: { requests_max: 6 },
  },
  context,
)
const volumeBytes = 14 * chunkBytes + 99

/** The bytes of whole chunks in the store, when each progress message came. */
const storedWhen: {
  readonly backupId: Json
  readonly doneBytes: number
  readonly bytes: number
}[] = []
const tap = await tapNotifications(wholeFile, agent.vhost.amqpUrl, ({ payload }) => {
  if (payload['bytes_done'] === undefined) return
  const chunks = readdirSync(agent.home.store, { recursive: true, encoding: 'utf8' }).filter(
    (name) =>
      name.includes(`_backup_${payload['backup_id']}-`) && !path.basename(name).startsWith('.'),
  )
  storedWhen.push({
    backupId: payload['backup_id'] ?? null,
    doneBytes: Number(payload['bytes_done']),
    bytes: chunks.length * chunkBytes,
  })
})

/** One backup, restored and deleted, once for all tests of this file. */
const life = (async () => {
  const record = await agent.backup(await agent.newVolume(diskBytes('life', volumeBytes)), {
    fields: { display_name: 'full' },
  })
  await agent.restore(record, noise('dirt', volumeBytes))
  await agent.runWell('delete', record)
  return tap.until(record.id, 'backup.delete.end')
})()

const kindOf = (value: Json | undefined): string =>
  value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value

/** What Cinder sends as null now and as text another time. */
const mayBeText = [
  'availability_zone',
  'display_name',
  'fail_reason',
  'parent_id',
  'service',
  'service_metadata',
  'snapshot_id',
]

/** Decisions D12, D13 and D24. */
const additions: Readonly<Record<string, readonly string[]>> = {
  start: ['record', 'run', 'sequence'],
  end: ['record', 'run', 'sequence'],
  progress: ['bytes_done', 'bytes_per_second', 'bytes_total', 'run', 'seconds_left', 'sequence'],
}
const progressContext = [
  '_context_auth_token',
  '_context_is_admin',
  '_context_project_id',
  '_context_read_deleted',
  '_context_request_id',
  '_context_service_catalog',
  '_context_user_id',
]
const restoreAdditions = ['restored_volume_id', 'volume_meta']

for (const stock of stockNotifications()) {
  test(`${stock.eventType} has every key of Cinder's, of the same type, and ours beside them`, async () => {
    const events = ofType(await life, stock.eventType)
    const ours = events.at(-1)
    assert.ok(ours)

    assert.equal(ours.exchange, stock.exchange)
    assert.equal(ours.routingKey, stock.routingKey)
    const { content_type, content_encoding, delivery_mode, priority } = stock.properties
    assert.deepEqual(
      [ours.properties.contentType, ours.properties.contentEncoding],
      [content_type, content_encoding],
    )
    assert.deepEqual(
      [ours.properties.deliveryMode, ours.properties.priority],
      [delivery_mode, priority],
    )

    // Decision D12: the context of progress is cut to who asked, for it is sent often.
    const isProgress = stock.eventType.endsWith('progress')
    const kept = ([key]: [string, Json]) =>
      !isProgress || !key.startsWith('_context_') || progressContext.includes(key)
    const outer = Object.entries(stock.message).filter(kept)
    assert.deepEqual(Object.keys(ours.message).sort(), outer.map(([key]) => key).sort())
    for (const [key, value] of outer) assert.equal(kindOf(ours.message[key]), kindOf(value), key)
    // Decision D12: of Cinder's own keys only the list of objects, which grows, is never sent.
    const wanted = Object.entries(stock.payload).filter(([key]) => key !== 'list')
    for (const [key, value] of wanted) {
      const kinds = mayBeText.includes(key) ? ['null', 'string'] : [kindOf(value)]
      assert.ok(kinds.includes(kindOf(ours.payload[key])), `${key}: ${ours.payload[key]}`)
    }
    const added = Object.keys(ours.payload).filter((key) => !Object.hasOwn(stock.payload, key))
    const suffix = /(start|end|progress)$/.exec(stock.eventType)?.[1] ?? ''
    const more = stock.eventType === 'backup.restore.end' ? restoreAdditions : []
    assert.deepEqual(added.sort(), [...(additions[suffix] ?? []), ...more].sort())
  })
}

test('what is in the envelope reads as Cinder writes it', async () => {
  for (const { message, payload, isEnveloped } of await life) {
    assert.ok(isEnveloped)
    assert.equal(message['publisher_id'], `backup.${agent.home.host}`)
    assert.match(String(message['timestamp']), /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}$/)
    assert.match(String(message['message_id']), /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
    assert.match(String(message['_unique_id']), /^[0-9a-f]{32}$/)
    assert.equal(message['_context_auth_token'], null)
    assert.deepEqual(message['_context_service_catalog'], [])
    assert.equal(message['_context_project_id'], projectId)
    assert.equal(payload['tenant_id'], projectId)
    assert.equal(payload['user_id'], userId)
    assert.equal(payload['host'], agent.home.host)
    assert.match(String(payload['created_at']), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$/)
  }
  const ids = (await life).map(({ message }) => message['message_id'])
  assert.equal(new Set(ids).size, ids.length)
})

test('the status goes as it goes in Cinder', async () => {
  const statuses = (await life)
    .filter(({ payload }) => payload['record'] !== undefined)
    .map(({ message, payload }) => [message['event_type'], payload['status']])

  assert.deepEqual(statuses, [
    ['backup.create.start', 'creating'],
    ['backup.create.end', 'available'],
    ['backup.restore.start', 'restoring'],
    ['backup.restore.end', 'available'],
    ['backup.delete.start', 'deleting'],
    ['backup.delete.end', 'deleted'],
  ])
})

for (const type of ['backup.createprogress', 'backup.restoreprogress']) {
  test(`${type} weighs little, tells a right percentage and never goes back`, async () => {
    const events = ofType(await life, type)

    assert.ok(events.length >= 2, `${events.length} came`)
    let lastBytes = -1
    for (const { body, payload } of events) {
      assert.ok(body.byteLength <= 2048, `${body.byteLength} bytes`)
      const { bytes_done: done, bytes_total: total, backup_percent: percent } = payload
      assert.equal(total, volumeBytes)
      assert.ok(Math.abs(Number(percent) - (Number(done) * 100) / volumeBytes) <= 2)
      assert.ok(Number(done) >= lastBytes, `${done} after ${lastBytes}`)
      lastBytes = Number(done)
      assert.ok(payload['seconds_left'] === null || Number(payload['seconds_left']) >= 0)
      assert.ok(Number(payload['bytes_per_second']) >= 0)
      assert.equal(payload['list'], undefined)
    }
  })
}

test('progress of a backup tells of no more than is in the store', async () => {
  const [first] = await life

  const seen = storedWhen.filter(({ backupId }) => backupId === first?.payload['backup_id'])
  const creating = seen.slice(0, ofType(await life, 'backup.createprogress').length)

  assert.ok(creating.some(({ doneBytes }) => doneBytes > 0 && doneBytes < volumeBytes))
  for (const { doneBytes, bytes } of creating)
    assert.ok(doneBytes <= bytes, `${doneBytes} > ${bytes}`)
})

test('names of the largest size do not make progress heavy', async () => {
  const volumeId = await agent.newVolume(diskBytes('names', 6 * chunkBytes))
  const display_name = '"\u{1f600}\\'.repeat(63)
  const description = 'ü'.repeat(255)

  const record = await agent.backup(volumeId, {
    fields: { display_name, display_description: description, availability_zone: 'z'.repeat(255) },
  })

  const events = await tap.until(record.id, 'backup.create.end')
  const progress = ofType(events, 'backup.createprogress')
  assert.ok(progress.length > 0)
  for (const { body } of progress) assert.ok(body.byteLength <= 2048, `${body.byteLength} bytes`)
  const [end] = ofType(events, 'backup.create.end')
  assert.equal(end?.payload['display_name'], display_name, 'in other events they are whole')
})

test('a failure is told as an event of its own, with priority ERROR', async () => {
  const asked = agent.asked(randomUUID())

  await agent.scheduler.run('create', asked)

  const events = await tap.until(asked.id, 'backup.create.error')
  const [error] = ofType(events, 'backup.create.error')
  assert.ok(error)
  assert.equal(error.routingKey, 'notifications.error')
  assert.equal(error.message['priority'], 'ERROR')
  const { code, detail, message, status, fail_reason } = error.payload
  assert.deepEqual([code, detail, status], ['VOLUME_NOT_FOUND', '021', 'error'])
  assert.ok(String(fail_reason).startsWith(`VOLUME_NOT_FOUND: ${String(message).slice(0, 100)}`))
  assert.equal((error.payload['record'] as JsonObject)['status'], 'error')
})

test('driver messaging sends the same without the envelope', async (t) => {
  const bare = await drivenAgent(
    t,
    { oslo_messaging_notifications: { driver: 'messaging' } },
    context,
  )
  const bareTap = await tapNotifications(t, bare.vhost.amqpUrl)

  const record = await bare.backup(await bare.newVolume(noise('bare', 1000)))

  const [start] = await bareTap.until(record.id, 'backup.create.end')
  assert.equal(start?.isEnveloped, false)
  const stock = stockNotifications().find(({ eventType }) => eventType === 'backup.create.start')
  assert.ok(start && stock)
  assert.deepEqual(Object.keys(start.message).sort(), Object.keys(stock.message).sort())
})
