import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import { memoryJournal } from '#src/adapters/journal/sqlite-journal.ts'
import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { type BackupRecord, importVolumeId } from '#src/domain/backup-record.ts'
import { recordTime } from '#src/lib/time-text.ts'
import { strandedNames } from '#src/operations/name-stranded.ts'
import type { RunOperation } from '#src/operations/operation.ts'
import { endOfGoneHost, endUnclaimed } from '#src/operations/sweep-rows.ts'
import { aDelivery, aRequest } from '../support/builders.ts'
import { runnerBench, types } from '../support/runner-bench.ts'
import { rowsOf } from '../support/state-bench.ts'
import { cinderRows, swiftDriver } from '../support/state-rows.ts'

const signal = AbortSignal.timeout(60_000)

const never = {
  ...{ end: () => assert.fail('it is ended'), endMs: Number.POSITIVE_INFINITY },
  ...{ endGone: () => assert.fail('it is ended'), goneMs: Number.POSITIVE_INFINITY },
}

const goneMs = 86_400_000
const hoursAgo = (hours: number) => new Date(Date.now() - hours * 3_600_000).toISOString()

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
    await strandedNames({ ...deps, ...never, end, endMs: 3_600_000 }).look(signal)

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

test('K-06 an import, which may wait in the journal of another host, is ended after a day only', async () => {
  for (const [hours, status] of [
    [23, 'creating'],
    [25, 'error'],
  ] as const) {
    const backup = { host: null, volume_id: importVolumeId, created_at: hoursAgo(hours) }
    const rows = cinderRows({ backup: { status: 'creating', service: null, ...backup } })
    const deps = {
      ...{ records: rows.records, storage: null, journal: memoryJournal(), host: 'host-1' },
      ...{ take: () => undefined, onEnded: () => undefined, log: recordingLog() },
    }
    const end = (row: BackupRecord, within: AbortSignal) => endUnclaimed(row, deps, within)
    await strandedNames({ ...deps, ...never, end, endMs: 3_600_000, goneMs }).look(signal)

    assert.equal(rows.backup()['status'], status)
  }
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

/** What an agent that takes a host for gone after a day makes of its backup; `fields` are those of its `services` row. */
function afterADay(
  backup: Partial<BackupRecord>,
  heard: string | null,
  attachedTo: string | null = null,
) {
  const rows = cinderRows({
    backup: { host: 'gone', service: swiftDriver, created_at: hoursAgo(60), ...backup },
    volume: { status: backup.status === 'restoring' ? 'restoring-backup' : 'backing-up' },
  })
  if (backup.status === 'restoring') {
    Object.assign(rows.backup(), { restore_volume_id: rows.record.volume_id })
  }
  const row = { binary: 'cinder-backup', deleted: false, created_at: hoursAgo(90) }
  if (heard !== null) rows.tables.services.push({ ...row, host: 'gone', updated_at: heard })
  for (const host of attachedTo === null ? [] : ['host-1', attachedTo]) {
    rows.tables.volume_attachment.push({
      ...{ id: `of ${host}`, volume_id: rows.record.volume_id, attached_host: host },
      ...{ instance_uuid: null, deleted: false },
    })
  }
  const ended: (string | null)[] = []
  const detached: string[] = []
  const log = recordingLog()
  const deps = {
    ...{ records: rows.records, journal: memoryJournal(), host: 'host-1', log },
    storage: { detachVolume: async (_: unknown, id: string) => void detached.push(id) },
    take: () => assert.fail('it is taken over'),
    onEnded: (record: BackupRecord) => void ended.push(record.status),
  }
  const names = strandedNames({
    ...{ ...deps, ...never, goneMs },
    endGone: (found, within) => endOfGoneHost(found, goneMs, deps, within),
  })
  return { rows, names, ended, detached, log }
}

for (const [status, backup, volume] of [
  ['creating', 'error', 'available'],
  ['restoring', 'available', 'error_restoring'],
  ['deleting', 'error_deleting', 'backing-up'],
] as const) {
  test(`K-07 a backup that is ${status} on a host that is silent for a day is ended with its reason`, async () => {
    for (const heard of [hoursAgo(25), null]) {
      const { rows, names, ended, log } = afterADay({ status }, heard)

      await names.look(signal)
      assert.equal(rows.backup()['status'], status)
      await names.look(signal)

      assert.equal(rows.backup()['status'], backup)
      assert.equal(rows.volume()['status'], volume)
      const reason =
        'host gone, which had this backup in hand, was not heard of for 24 hours: ask again'
      if (backup !== 'available') assert.equal(rows.backup()['fail_reason'], reason)
      assert.equal(log.lines.at(-1)?.fields['reason'], reason)
      assert.deepEqual(ended, status === 'creating' ? ['error'] : [])
    }
  })
}

type Back = {
  readonly operation: 'create' | 'restore' | 'delete'
  readonly status: 'creating' | 'restoring' | 'deleting'
  readonly isBegun: boolean
}

/** The agent of the host that was taken for gone starts after all, with its job in the journal. */
async function backAfterAll(
  { rows, names }: ReturnType<typeof afterADay>,
  { operation, isBegun }: Back,
  meanwhile: () => void,
) {
  await names.look(signal)
  await names.look(signal)
  meanwhile()
  const toNone: RunOperation = () => assert.fail('it goes on')
  const back = runnerBench({ [operation]: toNone }, 4, memoryJournal(), rowsOf(rows, true, 'gone'))
  const target = operation === 'restore' ? { targetVolumeId: rows.record.volume_id } : {}
  const asked = back.journal.accept(aDelivery(aRequest(operation, rows.record, target)))
  assert.ok(asked.kind === 'new')
  back.runner.takeLeft(isBegun ? back.journal.begin(asked.job.id, null) : asked.job)
  await back.idle()
  assert.deepEqual(back.journal.unfinished(), [])
  await back.stop()
  return types(back.events()).at(-1)
}

for (const [operation, status, others, last] of [
  ['create', 'creating', { status: 'backing-up', previous_status: 'available' }, 'create.end'],
  ['restore', 'restoring', { status: 'restoring-backup' }, 'restore.error'],
  ['delete', 'deleting', null, 'delete.error'],
] as const) {
  for (const isBegun of [true, false]) {
    const what = `${operation} ${isBegun ? 'begun' : 'waiting'}`
    test(`K-07 a host that comes back after all, with a ${what} in its journal, leaves what others have now`, async () => {
      const stranded = afterADay({ status }, hoursAgo(25))
      const { rows } = stranded
      let ended: unknown
      const told = await backAfterAll(stranded, { operation, status, isBegun }, () => {
        const { status: now, fail_reason: reason } = rows.backup()
        ended = [now, reason]
        if (others === null) return
        Object.assign(rows.volume(), others)
        const another = { id: randomUUID(), host: 'host-2', status, created_at: recordTime() }
        rows.tables.backups.push({ ...rows.backup(), ...another })
      })

      if (others !== null) assert.equal(rows.volume()['status'], others.status)
      assert.deepEqual([rows.backup()['status'], rows.backup()['fail_reason']], ended)
      assert.deepEqual(rows.messages(), [])
      assert.equal(told, `backup.${last}`)
    })
  }
}

test('K-07 a restore that was asked for anew, and is of another host by then, is not gone on with', async () => {
  const stranded = afterADay({ status: 'restoring' }, hoursAgo(25))
  const { rows } = stranded
  const job = { operation: 'restore', status: 'restoring', isBegun: true } as const
  await backAfterAll(stranded, job, () => {
    Object.assign(rows.volume(), { status: 'restoring-backup' })
    Object.assign(rows.backup(), { status: 'restoring', host: 'host-2' })
  })

  assert.equal(rows.volume()['status'], 'restoring-backup')
  assert.equal(rows.backup()['status'], 'restoring')
})

for (const status of ['creating', 'restoring'] as const) {
  test(`K-07 what another host has of the volume of a backup that is ${status} is left to it`, async () => {
    const { rows, names, detached } = afterADay({ status }, hoursAgo(25), 'gone')
    const before = { ...rows.volume() }
    const another = { id: randomUUID(), host: 'host-2', created_at: recordTime() }
    rows.tables.backups.push({ ...rows.backup(), ...another })
    rows.tables.services.push({
      ...{ binary: 'cinder-backup', deleted: false, created_at: hoursAgo(90) },
      ...{ host: 'host-2', updated_at: recordTime() },
    })

    await names.look(signal)
    await names.look(signal)

    assert.notEqual(rows.backup()['status'], status)
    assert.deepEqual(rows.volume(), before)
    assert.deepEqual(detached, [])
  })

  test(`K-07 what a backup that is ${status} has attached to the host that is gone is given back`, async () => {
    const { names, detached } = afterADay({ status }, hoursAgo(25), 'gone')

    await names.look(signal)
    await names.look(signal)

    assert.deepEqual(detached, ['of gone'])
  })
}

test('K-07 a host that is heard of while others are ended is left alone', async () => {
  const { rows, names } = afterADay({ status: 'creating' }, hoursAgo(25))
  await names.look(signal)
  const { strandedBackups } = rows.records
  let asked = 0
  Object.assign(rows.records, {
    strandedBackups: (...args: Parameters<typeof strandedBackups>) => {
      asked += 1
      if (asked === 3) Object.assign(rows.tables.services[0] ?? {}, { updated_at: recordTime() })
      return strandedBackups(...args)
    },
  })
  await names.look(signal)

  assert.equal(asked, 3)
  assert.equal(rows.backup()['status'], 'creating')
})

test('K-07 what was heard of within the day, has changed since, or is of no host is not ended so', async () => {
  for (const [backup, heard] of [
    [{}, hoursAgo(23)],
    [{ updated_at: hoursAgo(23) }, hoursAgo(25)],
    [{ host: null }, null],
    [{ host: 'host-1' }, null],
  ] as const) {
    const { rows, names } = afterADay({ status: 'creating', ...backup }, heard)
    for (let look = 0; look < 3; look += 1) await names.look(signal)

    assert.equal(rows.backup()['status'], 'creating')
    assert.equal(rows.volume()['status'], 'backing-up')
  }
})

test('K-07 after an outage of the database a host has until the next look to be heard', async () => {
  const { rows, names } = afterADay({ status: 'creating' }, hoursAgo(25))
  const service = rows.tables.services[0] ?? {}
  const { records } = rows
  await names.look(signal)

  const { strandedBackups } = records
  Object.assign(records, { strandedBackups: () => Promise.reject(new Error('it is away')) })
  await assert.rejects(names.look(signal), /it is away/)
  Object.assign(records, { strandedBackups })
  await names.look(signal)
  assert.equal(rows.backup()['status'], 'creating')
  Object.assign(service, { updated_at: recordTime() })
  await names.look(signal)

  assert.equal(rows.backup()['status'], 'creating')
})

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
