import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import { memoryJournal } from '#src/adapters/journal/sqlite-journal.ts'
import { recordingLog } from '#src/adapters/log/recording-log.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import { recordTime } from '#src/lib/time-text.ts'
import { strandedNames } from '#src/operations/name-stranded.ts'
import { endUnclaimed } from '#src/operations/sweep-rows.ts'
import { aDelivery, aRequest } from '../support/builders.ts'
import { cinderRows, swiftDriver } from '../support/state-rows.ts'

const signal = AbortSignal.timeout(60_000)

const never = {
  end: () => assert.fail('it is ended'),
  endMs: Number.POSITIVE_INFINITY,
}

async function named(backup: Partial<BackupRecord>, restoredTo: string | null = null) {
  const rows = cinderRows({ backup })
  Object.assign(rows.tables.backups[0] ?? {}, { restore_volume_id: restoredTo })
  const service = { binary: 'cinder-backup', deleted: false, created_at: '2026-11-22T10:11:12Z' }
  rows.tables.services.push(
    { ...service, host: 'host-2', updated_at: recordTime() },
    { ...service, host: 'gone', updated_at: '2026-11-22T10:11:12Z' },
  )
  const before = JSON.stringify(rows.tables)
  const log = recordingLog()
  const names = strandedNames({ records: rows.records, host: 'host-1', log, ...never })
  await names.look(signal)
  await names.look(signal)
  assert.equal(JSON.stringify(rows.tables), before)
  return { rows, names, told: log.lines.map(({ fields }) => fields) }
}

test('K-06 a request that was lost before any agent had it is named once, with what ends it', async () => {
  const { rows, told } = await named({ status: 'creating', host: null })

  const { id, volume_id } = rows.record
  const ends = `openstack volume backup delete --force ${id}; openstack volume set --state available ${volume_id}`
  assert.equal(told.length, 1)
  assert.equal(told[0]?.['backup_id'], id)
  assert.equal(told[0]?.['do'], ends)
})

test('K-06 when no device would be waited for any more it is ended with its reason, and nothing else is', async () => {
  const age = (seconds: number) => new Date(Date.now() - seconds * 1000).toISOString()
  const made = { status: 'creating', service: null } as const
  for (const [backup, isEnded] of [
    [{ ...made, host: null, created_at: age(3700) }, true],
    [{ ...made, host: null, created_at: age(3500) }, false],
    [{ ...made, host: null, created_at: age(9000), updated_at: age(3500) }, false],
    [{ ...made, host: 'gone', created_at: age(3700) }, false],
    [{ ...made, status: 'deleting', host: null, created_at: age(3700) }, false],
  ] as const) {
    const rows = cinderRows({ backup })
    const log = recordingLog()
    const deps = {
      ...{ records: rows.records, storage: null, journal: memoryJournal(), host: 'host-1', log },
      ...{ take: () => undefined, onEnded: () => undefined },
    }
    const end = (row: BackupRecord, within: AbortSignal) => endUnclaimed(row, deps, within)
    await strandedNames({ ...deps, end, endMs: 3_600_000 }).look(signal)

    assert.equal(rows.backup()['status'], isEnded ? 'error' : backup.status)
    assert.equal(rows.volume()['status'], isEnded ? 'available' : 'backing-up')
    const reason = /^the request for this backup was lost before any backup service had it/
    if (isEnded) assert.match(String(rows.backup()['fail_reason']), reason)
  }
})

test('K-06 an import that waits for its turn here is not ended, though its row names no host', async () => {
  const created_at = new Date(Date.now() - 3_700_000).toISOString()
  const rows = cinderRows({ backup: { status: 'creating', service: null, host: null, created_at } })
  const journal = memoryJournal()
  journal.accept(aDelivery(aRequest('import', rows.record)))
  const deps = {
    ...{ records: rows.records, storage: null, journal, host: 'host-1', log: recordingLog() },
    ...{ take: () => undefined, onEnded: () => undefined },
  }

  await endUnclaimed(rows.record, deps, signal)

  assert.equal(rows.backup()['status'], 'creating')
})

test('K-06 a create that a scheduler gives to a host after all, while others are ended, is left to it', async () => {
  const rows = cinderRows({ backup: { status: 'creating', service: null, host: null } })
  const deps = {
    ...{ records: rows.records, storage: null, journal: memoryJournal(), host: 'host-1' },
    ...{ take: () => undefined, onEnded: () => undefined, log: recordingLog() },
  }
  const read = { ...rows.record }
  Object.assign(rows.backup(), { host: 'host-2', updated_at: recordTime() })

  await endUnclaimed(read, deps, signal)

  assert.equal(rows.backup()['status'], 'creating')
  assert.equal(rows.volume()['status'], 'backing-up')
})

for (const [status, reset, freed] of [
  ['creating', 'error', 'source'],
  ['restoring', 'available', 'target'],
  ['deleting', 'error', null],
] as const) {
  test(`K-07 a backup that is ${status} on a host that is gone is named with the host and what ends it`, async () => {
    const targetId = randomUUID()
    const { rows, told } = await named({ status, host: 'gone', service: swiftDriver }, targetId)

    const { id, volume_id } = rows.record
    assert.equal(told.length, 1)
    assert.equal(told[0]?.['of_host'], 'gone')
    const text = String(told[0]?.['do'])
    assert.match(text, /^start cinder-backup-agent with host = gone, which goes on with it; or, /)
    assert.ok(text.includes(`openstack volume backup set --state ${reset} ${id}`))
    const volume = freed === 'source' ? volume_id : targetId
    const frees = text.includes('openstack volume set --state available')
    assert.equal(frees, freed !== null)
    if (freed !== null) assert.ok(text.endsWith(`openstack volume set --state available ${volume}`))
  })
}

test('what is ours, of a host that lives, has ended or has just been changed is not named', async () => {
  for (const backup of [
    { status: 'creating', host: 'host-1' },
    { status: 'creating', host: 'host-2' },
    { status: 'available', host: 'gone' },
    { status: null, host: null },
    { status: 'creating', host: null, updated_at: recordTime() },
    { status: 'creating', host: null, created_at: recordTime() },
    { status: 'deleting', host: 'gone', deleted: true },
  ] as const) {
    assert.deepEqual((await named(backup)).told, [], JSON.stringify(backup))
  }
})

test('a backup that is left in another status is named once more', async () => {
  const { rows, names } = await named({ status: 'creating', host: 'gone' })
  const log = recordingLog()
  const again = strandedNames({ records: rows.records, host: 'host-1', log, ...never })
  await again.look(signal)
  Object.assign(rows.tables.backups[0] ?? {}, { status: 'deleting' })

  await again.look(signal)
  await names.look(signal)

  assert.deepEqual(
    log.lines.map(({ fields }) => fields['status']),
    ['creating', 'deleting'],
  )
})
