import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import { memoryJournal } from '#src/adapters/journal/sqlite-journal.ts'
import { backupToPrimitive } from '#src/adapters/rpc/versioned-object.ts'
import { volumeObject } from '#src/adapters/rpc/volume-objects.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import { AgentError } from '#src/domain/errors.ts'
import type { JsonObject } from '#src/domain/json.ts'
import { call, handlerBench } from './support/handler-bench.ts'
import { aVolume, cinderRows } from './support/state-rows.ts'

function device(volumeId: string): JsonObject {
  return {
    'versioned_object.name': 'BackupDeviceInfo',
    'versioned_object.namespace': 'cinder',
    'versioned_object.version': '1.0',
    'versioned_object.data': { volume: volumeObject(aVolume(volumeId)), secure_enabled: true },
    'versioned_object.changes': ['volume', 'secure_enabled'],
  }
}

function bench(rows: ReturnType<typeof cinderRows>, journal = memoryJournal()) {
  const over: BackupRecord[] = []
  const onEnded = (record: BackupRecord) => void over.push(record)
  const changes = { rows: { records: rows.records, onEnded } }
  const handlers = handlerBench(changes, journal)
  const args = {
    backup: backupToPrimitive({ record: rows.record, parent: null }),
    backup_device: device(rows.record.volume_id),
  }
  return { ...handlers, over, args }
}

test('the device of a backup is in the journal when its message is acknowledged', async () => {
  const rows = cinderRows({ backup: { status: 'creating' } })
  const { handle, journal, args } = bench(rows)
  await handle(call('create_backup', { backup: args.backup }))

  const disposition = await handle(call('continue_backup', args))

  assert.equal(disposition.kind, 'accepted')
  const [job, ...others] = journal.unfinished()
  assert.deepEqual(others, [])
  assert.equal(job?.device?.id, rows.record.volume_id)
  assert.equal(job?.device?.host, 'storage1@lvm#pool')
})

test('a device for a backup that another service began makes a job, once', async () => {
  const rows = cinderRows({ backup: { status: 'creating' } })
  const { handle, journal, args } = bench(rows)

  await handle(call('continue_backup', args))
  await handle(call('continue_backup', args))

  const [job, ...others] = journal.unfinished()
  assert.deepEqual(others, [])
  assert.deepEqual([job?.request.operation, job?.record.id], ['create', rows.record.id])
  assert.equal(job?.device?.kind, 'volume')
})

test('a device that cannot be noted for want of room is noted when its message comes again', async () => {
  const rows = cinderRows({ backup: { status: 'creating' } })
  const journal = memoryJournal()
  let isFull = true
  const full: typeof journal = {
    ...journal,
    update(...given) {
      if (isFull) throw new AgentError('JOURNAL_UNAVAILABLE', 'the disk is full')
      journal.update(...given)
    },
  }
  const { handle, runner, args } = bench(rows, full)
  await assert.rejects(handle(call('continue_backup', args)), { code: 'JOURNAL_UNAVAILABLE' })
  assert.equal(runner.inHand(rows.record.id).length, 1)
  isFull = false

  assert.equal((await handle(call('continue_backup', args))).kind, 'accepted')

  assert.deepEqual(
    journal.unfinished().map(({ device: noted }) => noted?.id),
    [rows.record.volume_id],
  )
})

test('a device that comes too late makes no job, and what is temporary is looked after', async () => {
  for (const backup of [{ status: 'error' }, { status: 'creating', host: 'host-2' }] as const) {
    const rows = cinderRows({ backup })
    const { handle, journal, over, args } = bench(rows)

    assert.equal((await handle(call('continue_backup', args))).kind, 'ignored')

    assert.deepEqual(journal.unfinished(), [])
    assert.equal(over[0]?.id, rows.record.id)
  }
})

test('a device that is none is refused; with records in messages nobody takes one', async () => {
  const rows = cinderRows({ backup: { status: 'creating' } })
  const { handle, args } = bench(rows)
  for (const [backup_device, code] of [
    [null, 'ARGUMENT_MISSING'],
    [{}, 'ARGUMENT_INVALID'],
    [{ volume: {}, snapshot: {} }, 'ARGUMENT_INVALID'],
    [{ volume: { id: randomUUID() } }, 'ARGUMENT_INVALID'],
    [{ volume: { id: 'x', size: 1 } }, 'ARGUMENT_INVALID'],
  ] as const) {
    const request = call('continue_backup', { ...args, backup_device })
    await assert.rejects(handle(request), { code })
  }
  const request = call('continue_backup', args)
  await assert.rejects(handlerBench().handle(request), { code: 'METHOD_UNKNOWN' })
})

test('what is refused becomes a job that fails, for a row waits for an answer', async () => {
  const rows = cinderRows({ backup: { status: 'creating' } })
  const { handle, journal, args } = bench(rows)
  const backup_url = Buffer.from('no record').toString('base64')
  const more = { backup_service: 'cinder.backup.drivers.swift', backup_url }

  await handle(call('import_record', { backup: args.backup, ...more }))

  const [job] = journal.unfinished()
  assert.equal(job?.request.operation, 'import')
  assert.equal(job?.request.refused?.code, 'RECORD_INVALID')
})

test('an export is of the row, not of what the message says', async () => {
  const rows = cinderRows({ backup: { status: 'available', container: 'of the row' } })
  const { handle, args } = bench(rows)
  const [row] = rows.tables.backups

  const answer = await handle(call('export_record', { backup: args.backup }))

  assert.ok(answer.kind === 'answered')
  const { backup_url } = answer.result as { readonly backup_url: string }
  assert.equal(JSON.parse(String(Buffer.from(backup_url, 'base64'))).container, 'of the row')
  Object.assign(row ?? {}, { status: 'creating' })
  await assert.rejects(handle(call('export_record', { backup: args.backup })), {
    code: 'BACKUP_INVALID_STATE',
  })
})
