import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import { connect } from 'amqplib'

import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { JsonObject } from '#src/domain/json.ts'
import { type DrivenAgent, drivenAgent, wholeFile } from '../support/driven-agent.ts'
import { ofType, tapNotifications } from '../support/notification-tap.ts'
import { inbox } from '../support/rabbit.ts'
import { diskBytes, noise } from '../support/volume-data.ts'

const quick = await drivenAgent(wholeFile)
// A few seconds for each backup: long enough to be asked again, and to tell of progress.
const slow = await drivenAgent(wholeFile, { cinder_backup_agent: { requests_max: 6 } })
const slowBytes = 9 * 262_144 + 4321
const quickTap = await tapNotifications(wholeFile, quick.vhost.amqpUrl)
const slowTap = await tapNotifications(wholeFile, slow.vhost.amqpUrl)
const patienceMs = 60_000

type Raw = {
  readonly properties?: { readonly replyTo: string; readonly correlationId: string }
  readonly message: JsonObject
}

/** A scheduler of another kind: bare AMQP, bare JSON. */
async function rawClient({ vhost, context }: DrivenAgent, owner = wholeFile) {
  const connection = await connect(vhost.amqpUrl)
  connection.on('error', () => {}) // Its virtual host may go before it.
  owner.after(() => connection.close().catch(() => {}))
  const channel = await connection.createConfirmChannel()
  const { queue } = await channel.assertQueue('', { exclusive: true })
  const answers = inbox<{ readonly correlationId: unknown; readonly body: JsonObject }>()
  const take = (answer: Parameters<Parameters<typeof channel.consume>[1]>[0]) => {
    if (answer === null) return
    const { correlationId } = answer.properties
    answers.put({ correlationId, body: JSON.parse(answer.content.toString()) as JsonObject })
  }
  await channel.consume(queue, take, { noAck: true })
  const who = {
    _context_user_id: context.userId,
    _context_project_id: context.projectId,
    _context_request_id: `req-${randomUUID()}`,
  }
  return {
    queue,
    answers,
    /** Resolves when the broker has it. */
    async send({ message, properties = undefined }: Raw): Promise<void> {
      const body = Buffer.from(JSON.stringify({ ...who, ...message }))
      channel.publish('openstack', 'cinder-backup', body, {
        contentType: 'application/json',
        ...properties,
      })
      await channel.waitForConfirms()
    },
  }
}

function createOf(record: BackupRecord, more: JsonObject = {}): JsonObject {
  return { method: 'create_backup', version: '2.0', args: { backup: record }, ...more }
}

test('events of a run are numbered from 1, in order, progress included', async () => {
  const volumeId = await slow.newVolume(diskBytes('numbered', slowBytes))
  const record = await slow.backup(volumeId)
  await slow.restore(record, Buffer.alloc(slowBytes))
  await slow.runWell('delete', record)

  const all = await slowTap.until(record.id, 'backup.delete.end')
  const byRun = Map.groupBy(all, ({ payload }) => payload['run'])

  const kinds = [...byRun.values()].map((events) =>
    events.map(({ message }) => message['event_type']),
  )
  assert.deepEqual(
    kinds.map((types) => [types[0], types.at(-1)]),
    ['create', 'restore', 'delete'].map((one) => [`backup.${one}.start`, `backup.${one}.end`]),
  )
  assert.ok(kinds[0] && kinds[0].filter((type) => type === 'backup.createprogress').length >= 3)
  assert.ok(kinds[1]?.includes('backup.restoreprogress'))
  for (const events of byRun.values()) {
    const numbers = events.map(({ payload }) => Number(payload['sequence']))
    assert.equal(numbers[0], 1)
    assert.ok(
      numbers.every((number, at) => at === 0 || number > (numbers[at - 1] ?? number)),
      `they rise: ${numbers}`,
    )
  }
})

test('every start and end carries the record as it then is, progress does not', async () => {
  const volumeId = await quick.newVolume(noise('records', 100_000))
  const record = await quick.backup(volumeId)

  const [start, ...others] = await quickTap.until(record.id, 'backup.create.end')
  const end = others.at(-1)

  const first = start?.payload['record'] as JsonObject
  const last = end?.payload['record'] as JsonObject
  assert.deepEqual(Object.keys(first), Object.keys(last))
  assert.deepEqual([first['status'], first['service_metadata']], ['creating', null])
  assert.equal(first['host'], quick.home.host)
  assert.equal(last['status'], 'available')
  assert.match(String(last['service_metadata']), new RegExp(`^volume_${volumeId}_\\d{14}_backup_`))
  assert.equal(last['service'], 'cinder.backup.drivers.posix.PosixBackupDriver')
  assert.equal(last['object_count'], 1)
  for (const { message, payload } of others.slice(0, -1)) {
    assert.equal(message['event_type'], 'backup.createprogress')
    assert.equal(payload['record'], undefined)
  }
})

test('a client with reply_to hears at once that its request is accepted, in its own form', async () => {
  const client = await rawClient(slow)
  const asked = slow.asked(await slow.newVolume(diskBytes('accepted', slowBytes)))

  const properties = { replyTo: client.queue, correlationId: 'ask-1' }
  await client.send({ properties, message: createOf(asked) })

  const { correlationId, body } = await client.answers.next(patienceMs)
  assert.equal(correlationId, 'ask-1')
  assert.deepEqual(body['result'], { accepted: true, backup_id: asked.id })
  assert.equal(body['failure'], null)
  assert.equal(body['oslo.message'], undefined, 'bare, as the request was')
  const types = slowTap.ofBackup(asked.id).map(({ message }) => message['event_type'])
  assert.ok(!types.includes('backup.create.end'), 'before the work was done')
  await slow.scheduler.ended('create', asked.id)
})

test('a client with reply_to hears why its request is refused', async () => {
  const client = await rawClient(quick)
  const asked = quick.asked(randomUUID(), { status: 'deleting' })

  const properties = { replyTo: client.queue, correlationId: 'ask-2' }
  await client.send({ properties, message: createOf(asked) })

  const { correlationId, body } = await client.answers.next(patienceMs)
  assert.equal(correlationId, 'ask-2')
  const failure = body['failure']
  const { error_code } = typeof failure === 'string' ? JSON.parse(failure) : (failure ?? {})
  assert.equal(error_code, 'BACKUP_INVALID_STATE')
  const event = await quick.scheduler.ended('create', asked.id)
  assert.equal(event.payload['code'], 'BACKUP_INVALID_STATE')
  assert.equal(event.payload['status'], 'deleting', 'the record is as it was')
})

test('a message that comes twice runs once', async () => {
  const client = await rawClient(quick)
  const asked = quick.asked(await quick.newVolume(noise('twice', 100_000)))
  const message = createOf(asked, { _unique_id: randomUUID().replaceAll('-', '') })

  await client.send({ message })
  await quick.scheduler.ended('create', asked.id)
  await client.send({ message })
  await quick.runWell('delete', quick.scheduler.recordOf(asked.id))

  const events = await quickTap.until(asked.id, 'backup.delete.end')
  const types = events.map(({ message }) => message['event_type'])
  assert.deepEqual(
    types.filter((type) => type !== 'backup.createprogress'),
    ['backup.create.start', 'backup.create.end', 'backup.delete.start', 'backup.delete.end'],
  )
})

test('a second request for what is in hand joins it', async () => {
  const asked = slow.asked(await slow.newVolume(diskBytes('joined', slowBytes)))

  const answers = [await slow.scheduler.ask('create', asked)]
  await slowTap.until(asked.id, 'backup.create.start')
  answers.push(await slow.scheduler.ask('create', asked))
  await slow.scheduler.ended('create', asked.id)
  await slow.runWell('delete', slow.scheduler.recordOf(asked.id))

  const accepted = { accepted: true, backup_id: asked.id }
  assert.deepEqual(answers, [accepted, accepted])
  const events = await slowTap.until(asked.id, 'backup.delete.end')
  assert.equal(ofType(events, 'backup.create.start').length, 1)
  assert.equal(ofType(events, 'backup.create.end').length, 1)
})

test('asked again for a backup that ended well, it sends the same end again and does nothing', async () => {
  const asked = quick.asked(await quick.newVolume(noise('again', 100_000)))
  await quick.runWell('create', asked)

  const answer = await quick.scheduler.ask('create', asked)

  assert.deepEqual(answer, { accepted: true, backup_id: asked.id })
  const events = await quickTap.until(asked.id, 'backup.create.end', 2)
  const [first, second] = ofType(events, 'backup.create.end')
  assert.equal(first?.message['message_id'], second?.message['message_id'])
  assert.deepEqual(second?.body, first?.body, 'byte for byte')
  await quick.runWell('delete', quick.scheduler.recordOf(asked.id))
  const all = await quickTap.until(asked.id, 'backup.delete.end')
  assert.equal(ofType(all, 'backup.create.start').length, 1)
})

test('a backup that failed is made when it is asked for again', async () => {
  const volumeId = randomUUID()
  const asked = quick.asked(volumeId)
  const failed = await quick.scheduler.run('create', asked)
  await quick.writeVolume(volumeId, noise('late', 50_000))

  const ended = await quick.scheduler.run('create', asked)

  assert.equal(failed.eventType, 'backup.create.error')
  assert.equal(failed.payload['code'], 'VOLUME_NOT_FOUND')
  assert.equal(ended.eventType, 'backup.create.end')
  assert.notEqual(ended.payload['run'], failed.payload['run'])
})
