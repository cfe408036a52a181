import assert from 'node:assert/strict'
import { test } from 'node:test'

import { memoryJournal } from '#src/adapters/journal/sqlite-journal.ts'
import type { RunOperation } from '#src/operations/operation.ts'
import { aRequest } from '../support/builders.ts'
import { deviceCases } from '../support/device-cases.ts'
import { importCases } from '../support/import-cases.ts'
import { keyCases } from '../support/key-cases.ts'
import { runnerBench, types } from '../support/runner-bench.ts'
import { assertEnds, dyingJournal, played, rowsOf } from '../support/state-bench.ts'
import {
  createEnd,
  createStart,
  creating,
  good,
  restored,
  restoreEnd,
  restoreStart,
  restoring,
  type StateCase,
  stateCases,
} from '../support/state-cases.ts'
import { cinderRows } from '../support/state-rows.ts'

const allCases = { ...stateCases, ...deviceCases, ...keyCases, ...importCases }

for (const [name, one] of Object.entries(allCases)) {
  test(name, async () => {
    const { rows, bench, hasRun } = await played(one)
    assertEnds(rows, one)
    assert.deepEqual(types(bench.events()), one.ends.events)
    assert.equal(hasRun(), one.ends.isRefused !== true)
    await bench.stop()
  })
}

test('M-29, M-30 a restore says in its volume which backup it is made of, unless that is plain', async () => {
  for (const [isOwn, src, becomes, expected] of [
    [true, null, undefined, undefined],
    [true, 'another', undefined, 'ours'],
    [false, null, undefined, 'ours'],
    [false, null, 'available', 'ours'],
  ] as const) {
    const rows = cinderRows({ backup: restoring, volume: restored })
    const other = 'd36e34c5-8ab1-4ae5-ae3a-d5ca6ae02b54'
    rows.tables.volumes.push({ ...rows.tables.volumes[0], id: other })
    const targetVolumeId = isOwn ? rows.record.volume_id : other
    const signal = new AbortController().signal
    const named = src === null ? {} : { src_backup_id: src }
    await rows.records.mergeVolumeMetadata(targetVolumeId, { keep: 'me', ...named }, signal)
    const restore: RunOperation = async () => {
      if (becomes !== undefined) {
        await rows.records.changeBackup(rows.record.id, null, { status: becomes }, signal)
      }
      return { record: {} }
    }
    const bench = runnerBench({ restore }, 4, memoryJournal(), rowsOf(rows, true))
    bench.ask(aRequest('restore', rows.record, { targetVolumeId }))
    await bench.idle()

    const { metadata } = (await rows.records.volume(targetVolumeId, signal)) ?? {}
    const wanted = expected === 'ours' ? rows.record.id : undefined
    assert.deepEqual(
      metadata,
      wanted === undefined ? { keep: 'me' } : { keep: 'me', src_backup_id: wanted },
    )
    await bench.stop()
  }
})

test('M-30 a volume that Cinder is making is launched by its restore', async () => {
  const one: StateCase = {
    ...{ operation: 'restore', backup: restoring, volume: { status: 'creating' } },
    ends: { backup: good, volume: { status: 'available' }, events: [restoreStart, restoreEnd] },
  }
  const { rows, bench } = await played(one)

  assertEnds(rows, one)
  assert.match(String(rows.volume()['launched_at']), /^20\d\d-/)
  await bench.stop()
})

test('M-46 a delete gives the quota back and is taken off its parent; M-15 a create is counted there', async () => {
  const one: StateCase = {
    ...{ operation: 'create', backup: { ...creating, parent_id: 'the parent' } },
    ends: { backup: good, events: [createStart, createEnd] },
  }
  const rows = cinderRows({ backup: one.backup ?? {} })
  rows.tables.backups.push({ id: 'the parent', deleted: false, num_dependent_backups: null })
  const project_id = rows.record.project_id
  for (const [resource, in_use] of [['backups', 3] as const, ['backup_gigabytes', 5] as const]) {
    rows.tables.quota_usages.push({ id: in_use, deleted: false, project_id, resource, in_use })
  }
  const well: RunOperation = async () => ({ record: {} })
  const bench = runnerBench({ create: well, delete: well }, 4, memoryJournal(), rowsOf(rows, true))
  const parent = () => rows.tables.backups.find(({ id }) => id === 'the parent')

  bench.ask(aRequest('create', rows.record))
  await bench.idle()
  assert.equal(parent()?.['num_dependent_backups'], 1)
  const signal = new AbortController().signal
  await rows.records.changeBackup(rows.record.id, null, { status: 'deleting' }, signal)
  bench.ask(aRequest('delete', rows.record))
  await bench.idle()

  assert.equal(parent()?.['num_dependent_backups'], 0)
  assert.deepEqual(
    rows.tables.quota_usages.map(({ in_use }) => in_use),
    [2, 4],
  )
  await bench.stop()
})

test('whatever is settled once more, after a crash between the rows and the journal, ends the same', async () => {
  for (const [name, one] of Object.entries(allCases)) {
    const journal = dyingJournal()
    const { rows, bench } = await played(one, journal.first)
    const seen = () =>
      JSON.stringify([rows.tables.messages.length, rows.backup(), rows.volume()], (key, value) =>
        key === 'updated_at' ? undefined : value,
      )
    const first = seen()
    await bench.stop()

    const again = runnerBench({}, 4, journal.next(), rowsOf(rows, one.isReady ?? true))
    for (const job of again.journal.unfinished()) again.runner.takeLeft(job)
    await again.idle()

    assertEnds(rows, one)
    assert.deepEqual(types(again.events()), one.ends.events, name)
    assert.equal(seen(), first, name)
    await again.stop()
  }
})
