import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Job } from '#src/domain/job.ts'
import { jobEvent, progressEvent } from '#src/operations/job-events.ts'
import { aContext, aRecord, aRequest } from '../support/builders.ts'

function aJob(): Job {
  const request = aRequest('create')
  const { record } = request.backup
  const context = aContext({ authToken: 'canary-token' })
  const run = '6a0f5d2c-7a7e-4b67-9f3c-6f6f4f4b1d10'
  return {
    id: 'j',
    request,
    context,
    record,
    run,
    starts: 1,
    highWaterBytes: 0,
    started: true,
    device: null,
    ending: null,
  }
}

const half = { bytesDone: 5, bytesTotal: 10, bytesPerSecond: 2, chunkCount: 3 }

// Source: the recorded notification of test/samples/wire/notify-v2-backup.create.start.json.
const cindersKeys = [
  'tenant_id',
  'user_id',
  'availability_zone',
  'backup_id',
  'host',
  'display_name',
  'created_at',
  'status',
  'volume_id',
  'size',
  'service_metadata',
  'service',
  'fail_reason',
  'parent_id',
  'num_dependent_backups',
  'snapshot_id',
]

test('an event has the keys of Cinder, and those of decision D24', () => {
  const job = aJob()

  const { payload } = jobEvent(job, 'start', job.record, 1)

  assert.deepEqual(Object.keys(payload), [...cindersKeys, 'record', 'run', 'sequence'])
  assert.equal(payload['created_at'], '2026-11-22T10:11:12+00:00')
})

test('no event carries the token', () => {
  const job = aJob()

  assert.ok(!JSON.stringify(jobEvent(job, 'end', job.record, 2)).includes('canary-token'))
})

test('an event carries of its context only what oslo knows', () => {
  const values = { roles: ['member'], project_name: 'demo', x_service_token: 'canary-token' }
  const job = { ...aJob(), context: aContext({ values }) }

  const { context } = jobEvent(job, 'end', job.record, 2)

  assert.deepEqual([context['roles'], context['project_name']], [['member'], 'demo'])
  assert.ok(!JSON.stringify(context).includes('canary-token'))
})

test('progress has a right percentage, reaches 100 only at the end, and never more', () => {
  const job = aJob()
  const percentAt = (bytesDone: number) =>
    progressEvent(job, job.record, 2, { ...half, bytesDone, bytesTotal: 1_000_000 }).payload[
      'backup_percent'
    ]

  assert.deepEqual([0, 250_000, 999_999, 1_000_000].map(percentAt), [0, 25, 99.99, 100])
})

test('progress of a backup has what Cinder adds, without the list of objects', () => {
  const job = aJob()

  const { payload } = progressEvent(job, aRecord({ service_metadata: 'volume_1/prefix' }), 2, half)

  const { id, prefix, volume_meta, backup_percent } = payload
  assert.deepEqual([id, prefix, volume_meta, backup_percent], [4, 'volume_1/prefix', null, 50])
  assert.equal(payload['list'], undefined)
  assert.equal(payload['seconds_left'], 3)
})

test('progress stays under 2 KiB on the wire, whatever the names are', () => {
  const job = aJob()
  const record = aRecord({
    display_name: '\u{1f600}'.repeat(255),
    service_metadata: `volume_x/20261122101112/az_nova_backup_${'y'.repeat(190)}`,
  })

  const event = progressEvent(job, record, 2, half)

  const body = JSON.stringify({
    'oslo.version': '2.0',
    'oslo.message': JSON.stringify({ ...event, _unique_id: event.uniqueId }),
  })
  assert.ok(Buffer.byteLength(body) <= 2048, `${Buffer.byteLength(body)} bytes`)
})
