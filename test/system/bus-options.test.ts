// Options of the service that most sites leave alone, by what a real broker and a store then get.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'

import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { JsonObject } from '#src/domain/json.ts'
import { agentHome, startAgent } from '../support/agent.ts'
import { aContext } from '../support/builders.ts'
import { wholeFile } from '../support/driven-agent.ts'
import { bareRequest, plainBackup } from '../support/good-message.ts'
import { eventually, type PlainClient, plainClient } from '../support/rabbit.ts'
import { rabbitVhost } from '../support/rabbit-vhost.ts'
import { recordFor } from '../support/scheduler.ts'
import { noise } from '../support/volume-data.ts'

const [requests, notifications] = [await rabbitVhost(wholeFile), await rabbitVhost(wholeFile)]
const home = await agentHome(wholeFile, requests.transportUrl, {
  DEFAULT: {
    host: 'backup-7@rack',
    control_exchange: 'volumes',
    storage_availability_zone: 'zone-9',
    backup_container: 'all-of-them',
  },
  oslo_messaging_notifications: {
    driver: 'messagingv2',
    transport_url: notifications.transportUrl,
    topics: 'alpha, beta',
  },
})
await startAgent(wholeFile, home)
const asking = await plainClient(wholeFile, requests.amqpUrl)
const listening = await plainClient(wholeFile, notifications.amqpUrl)

/** Asks the agent's own queue for a backup; resolves to the record that asked. */
async function create(fields: Partial<BackupRecord>): Promise<BackupRecord> {
  const volumeId = randomUUID()
  await writeFile(path.join(home.volumes, `volume-${volumeId}`), noise('bus', 4096))
  const record = recordFor(volumeId, aContext(), fields)
  const request = bareRequest({
    method: 'create_backup',
    args: { backup: plainBackup(record) },
    _context_project_id: record.project_id,
  })
  asking.publish('volumes', 'cinder-backup.backup-7@rack', JSON.stringify(request))
  return record
}

/** The message of the backup's end in a queue. */
async function endIn(client: PlainClient, queue: string, backupId: string): Promise<JsonObject> {
  await eventually(() => client.exists(queue), `${queue} is there`)
  while (true) {
    const { content } = await client.next(queue)
    const message = JSON.parse(JSON.parse(content.toString())['oslo.message']) as JsonObject
    const { backup_id: id, message: why } = message['payload'] as JsonObject
    assert.notEqual(message['event_type'], 'backup.create.error', String(why))
    if (id === backupId && message['event_type'] === 'backup.create.end') return message
  }
}

test('control_exchange, host, topics and transport_url of notifications are where messages go', async () => {
  const { id } = await create({})

  for (const queue of ['alpha.info', 'beta.info']) {
    const { publisher_id: publisher, payload } = await endIn(listening, queue, id)
    assert.equal(publisher, 'backup.backup-7@rack')
    assert.equal(((payload as JsonObject)['record'] as JsonObject)['host'], 'backup-7@rack')
  }

  assert.equal(await asking.exists('cinder-backup.backup-7@rack'), true)
  assert.equal(await asking.exists('notifications.info'), false)
  assert.equal(await asking.exists('alpha.info'), false)
  assert.equal(await listening.exists('notifications.info'), false)
})

test('a backup without an availability zone gets that of the agent, another keeps its own', async () => {
  for (const [asked, kept] of [
    [null, 'zone-9'],
    ['zone-1', 'zone-1'],
  ] as const) {
    const { id } = await create({ availability_zone: asked })

    const { payload } = await endIn(listening, 'alpha.info', id)

    assert.equal((payload as JsonObject)['availability_zone'], kept)
  }
})

test('a posix backup that names no container lies in backup_container', async () => {
  const { id } = await create({ container: null })

  const { payload } = await endIn(listening, 'alpha.info', id)

  const { container, service_metadata: prefix } = (payload as JsonObject)['record'] as JsonObject
  assert.equal(container, 'all-of-them')
  const names = await readdir(path.join(home.store, 'all-of-them'))
  assert.ok(names.includes(`${prefix}_metadata`), names.join(', '))
})
