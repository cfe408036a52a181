import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'

import { memoryJournal } from '#src/adapters/journal/sqlite-journal.ts'
import type { BackupStatus } from '#src/domain/backup-record.ts'
import { AgentError } from '#src/domain/errors.ts'
import type { RunOperation } from '#src/operations/operation.ts'
import { aRequest } from '../support/builders.ts'
import { deviceCases } from '../support/device-cases.ts'
import { importCases } from '../support/import-cases.ts'
import { keyCases } from '../support/key-cases.ts'
import { meddling } from '../support/meddling.ts'
import { runnerBench, types, untilAborted } from '../support/runner-bench.ts'
import { dyingJournal, played, rowsOf } from '../support/state-bench.ts'
import { createEnd, createStart, creating, restored, stateCases } from '../support/state-cases.ts'
import { cinderRows, swiftDriver } from '../support/state-rows.ts'

// Others change the rows of a job while it runs, and while the agent is away. Who came first wins.

const signal = AbortSignal.timeout(60_000)
const well: RunOperation = async () => ({ record: {} })
const failing: RunOperation = async () => {
  throw new AgentError('STORE_REFUSED', 'as the case wants')
}

for (const status of ['deleting', 'error', 'available'] as const satisfies BackupStatus[]) {
  test(`M-17 a row that becomes ${status} between two writes of its create takes no second one`, async () => {
    const rows = cinderRows({ backup: creating })
    let hasGoneOn = false
    const create: RunOperation = async (run, runSignal) => {
      await run.change({ container: 'first' }, runSignal)
      await rows.records.changeBackup(rows.record.id, ['creating'], { status }, signal)
      await run.change({ container: 'second', object_count: 9 }, runSignal)
      hasGoneOn = true
      return { record: {} }
    }
    const bench = runnerBench({ create }, 4, memoryJournal(), rowsOf(rows, true))
    bench.ask(aRequest('create', rows.record))
    await bench.idle()

    const { container, object_count } = rows.backup()
    assert.deepEqual([container, object_count, rows.backup()['status']], ['first', 0, status])
    assert.equal(hasGoneOn, false)
    assert.deepEqual(types(bench.events()), [createStart, createEnd])
    await bench.stop()
  })
}

test('M-17 a create whose row is reset to available meanwhile lets go of its volume', async () => {
  const rows = cinderRows({ backup: creating })
  const create: RunOperation = async () => {
    await rows.records.changeBackup(rows.record.id, null, { status: 'available' }, signal)
    return { record: {} }
  }
  const bench = runnerBench({ create }, 4, memoryJournal(), rowsOf(rows, true))
  bench.ask(aRequest('create', rows.record))
  await bench.idle()

  assert.equal(rows.backup()['status'], 'available')
  assert.equal(rows.volume()['status'], 'available')
  await bench.stop()
})

for (const [how, work] of [
  ['ended well', well],
  ['failed', failing],
] as const) {
  test(`a volume that another backup took before the rows of a create that ${how} are settled again is its own`, async () => {
    const rows = cinderRows({ backup: creating })
    const journal = dyingJournal()
    const first = runnerBench({ create: work }, 4, journal.first, rowsOf(rows, true))
    first.ask(aRequest('create', rows.record))
    await first.idle()
    await first.stop()
    assert.equal(rows.volume()['status'], 'available')
    const taken = { status: 'backing-up', previous_status: 'available' }
    await rows.records.changeVolume(rows.record.volume_id, ['available'], taken, signal)

    const again = runnerBench({}, 4, journal.next(), rowsOf(rows, true))
    for (const job of again.journal.unfinished()) again.runner.takeLeft(job)
    await again.idle()

    const { status, previous_status } = rows.volume()
    assert.deepEqual({ status, previous_status }, taken)
    assert.deepEqual(again.journal.unfinished(), [])
    await again.stop()
  })
}

test('whoever changes a row right before a job writes it wins, whatever row of the tables it is', async () => {
  let met = 0
  const cases = { ...stateCases, ...deviceCases, ...keyCases, ...importCases }
  for (const [name, one] of Object.entries(cases)) {
    if (one.operation === 'reset_status') continue // It is of any status, as in Cinder.
    for (let at = 0; ; at++) {
      const writes = { count: 0 }
      const { bench } = await played(one, memoryJournal(), (rows) => meddling(rows, at, writes))
      assert.deepEqual(bench.journal.unfinished(), [], name)
      await bench.stop()
      if (writes.count <= at) break
      met += 1
    }
  }
  assert.ok(met > 60, `${met}`)
})

test('a create that is cancelled while its row is creating does not become available, nor count', async () => {
  const rows = cinderRows({ backup: { ...creating, parent_id: 'the parent' } })
  rows.tables.backups.push({ id: 'the parent', deleted: false, num_dependent_backups: 0 })
  const create: RunOperation = (_run, runSignal) => untilAborted(runSignal)
  const bench = runnerBench({ create }, 4, memoryJournal(), rowsOf(rows, true))
  bench.ask(aRequest('create', rows.record))
  while (!types(bench.events()).includes(createStart)) await setImmediate()
  bench.ask(aRequest('reset_status', rows.record, { newStatus: 'error' }))
  await bench.idle()

  assert.equal(rows.backup()['status'], 'error')
  assert.equal(rows.volume()['status'], 'available')
  const parent = rows.tables.backups.find(({ id }) => id === 'the parent')
  assert.equal(parent?.['num_dependent_backups'], 0)
  await bench.stop()
})

test('an import that is cancelled imports nothing', async () => {
  const rows = cinderRows({
    backup: { ...creating, display_name: 'as it was', temp_volume_id: 'as it was' },
  })
  let hasBegun = false
  const importing: RunOperation = (_run, runSignal) => {
    hasBegun = true
    return untilAborted(runSignal)
  }
  const bench = runnerBench({ import: importing }, 4, memoryJournal(), rowsOf(rows, true))
  const imported = { ...rows.record, display_name: 'imported', container: 'theirs' }
  bench.ask(aRequest('import', rows.record, { imported }))
  while (!hasBegun) await setImmediate()
  bench.ask(aRequest('delete', { ...rows.record, status: 'deleting' }))
  await bench.idle()

  const { display_name, temp_volume_id, container, status } = rows.backup()
  assert.deepEqual([display_name, temp_volume_id, container], ['as it was', 'as it was', null])
  assert.notEqual(status, 'available')
  assert.ok(types(bench.events()).includes('backup.import.end'))
  assert.ok(!types(bench.events()).includes('backup.import.error'))
  await bench.stop()
})

test('a reset that fails changes no status', async () => {
  const rows = cinderRows({ backup: { status: 'available' } })
  const bench = runnerBench({ reset_status: failing }, 4, memoryJournal(), rowsOf(rows, true))
  bench.ask(aRequest('reset_status', rows.record, { newStatus: 'error' }))
  await bench.idle()

  assert.equal(rows.backup()['status'], 'available')
  await bench.stop()
})

for (const [operation, how, work] of [
  ['create', 'ends well', well],
  ['create', 'fails', failing],
  ['restore', 'ends well', well],
  ['restore', 'fails', failing],
  ['delete', 'ends well', well],
  ['delete', 'fails', failing],
  ['import', 'ends well', well],
  ['import', 'fails', failing],
  ['reset_status', 'ends well', well],
] as const) {
  test(`a ${operation} whose row is purged meanwhile and that ${how} is over, with the record that it had`, async () => {
    const status = { restore: 'restoring', delete: 'deleting' }[String(operation)] ?? 'creating'
    const volume = operation === 'restore' ? { volume: restored } : {}
    const backup = { status: status as BackupStatus, service: swiftDriver }
    const rows = cinderRows({ backup, ...volume })
    const purged: RunOperation = (...given) => {
      rows.tables.backups.length = 0
      return work(...given)
    }
    const bench = runnerBench(
      { [operation]: purged },
      ...([4, memoryJournal(), rowsOf(rows, true)] as const),
    )
    const target = operation === 'restore' ? { targetVolumeId: rows.record.volume_id } : {}
    const newStatus = operation === 'reset_status' ? 'error' : null
    bench.ask(aRequest(operation, rows.record, { newStatus, ...target }))
    await bench.idle()

    assert.deepEqual(bench.journal.unfinished(), [])
    const last = bench.events().at(-1)
    assert.notEqual(last?.eventType, `backup.${operation}.start`)
    assert.equal(last?.payload['backup_id'], rows.record.id)
    assert.deepEqual(rows.tables.backups, [])
    assert.deepEqual(rows.messages(), [])
    if (operation === 'create') assert.equal(rows.volume()['status'], 'available')
    await bench.stop()
  })
}

test('a delete that is asked for once more, of what is deleted already, ends well and changes nothing', async () => {
  const backup = { status: 'deleted', deleted: true, service: swiftDriver } as const
  const rows = cinderRows({ backup })
  const before = JSON.stringify(rows.tables)
  const bench = runnerBench({ delete: well }, 4, memoryJournal(), rowsOf(rows, true))
  bench.ask(aRequest('delete', rows.record))
  await bench.idle()

  assert.deepEqual(types(bench.events()), ['backup.delete.start', 'backup.delete.end'])
  assert.equal(JSON.stringify(rows.tables), before)
  await bench.stop()
})

for (const operation of ['create', 'restore'] as const) {
  test(`a ${operation} of a row that was deleted before it began does no work`, async () => {
    const status = operation === 'create' ? 'creating' : 'restoring'
    const volume = operation === 'create' ? {} : { volume: restored }
    const rows = cinderRows({ backup: { status, deleted: true, service: swiftDriver }, ...volume })
    let hasRun = false
    const work: RunOperation = async () => {
      hasRun = true
      return { record: {} }
    }
    const bench = runnerBench({ [operation]: work }, 4, memoryJournal(), rowsOf(rows, true))
    const target = operation === 'restore' ? { targetVolumeId: rows.record.volume_id } : {}
    bench.ask(aRequest(operation, rows.record, target))
    await bench.idle()

    assert.equal(hasRun, false)
    assert.deepEqual(rows.messages(), [])
    assert.equal(rows.volume()['status'], operation === 'create' ? 'available' : 'error')
    await bench.stop()
  })
}

for (const [isReset, last] of [
  [false, 'backup.restore.end'],
  [true, 'backup.restore.error'],
] as const) {
  test(`a target that others have given another status keeps it, and the restore ends with ${last}`, async () => {
    const rows = cinderRows({
      backup: { status: 'restoring', service: swiftDriver },
      volume: restored,
    })
    const { id, volume_id: volumeId } = rows.record
    const restore: RunOperation = async () => {
      await rows.records.changeVolume(volumeId, null, { status: 'in-use' }, signal)
      if (isReset) await rows.records.changeBackup(id, null, { status: 'error' }, signal)
      return { record: {} }
    }
    const bench = runnerBench({ restore }, 4, memoryJournal(), rowsOf(rows, true))
    bench.ask(aRequest('restore', rows.record, { targetVolumeId: volumeId }))
    await bench.idle()

    assert.equal(rows.volume()['status'], 'in-use')
    assert.equal(rows.backup()['status'], isReset ? 'error' : 'available')
    assert.equal(types(bench.events()).at(-1), last)
    await bench.stop()
  })
}
