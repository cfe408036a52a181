import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import type { Columns } from '#src/ports/records.ts'
import {
  addUsage,
  assertRecent,
  madeAt,
  newBackup,
  type RecordsBench,
  recordedRows,
  signal,
  usagesOf,
} from '../support/records-bench.ts'

export function testDeletes(adapter: string, bench: () => RecordsBench): void {
  for (const [step, parents] of [
    ['22-delete', 0],
    ['21-force-delete', 1],
  ] as const) {
    test(`${adapter}: a delete changes what Cinder's own does (${step})`, async () => {
      await using records = await bench().open()
      const changes = recordedRows(step)
      const parent = newBackup({ status: 'available', num_dependent_backups: 1 })
      const row = newBackup({
        status: 'available',
        size: 1,
        parent_id: parents === 1 ? parent.id : null,
        updated_at: madeAt,
      })
      for (const one of [parent, row]) await bench().insert('backups', one)
      const metadata = { backup_id: row.id, key: 'k', value: 'v', deleted: false }
      if (parents === 0) await bench().insert('backup_metadata', metadata)
      for (const resource of ['backups', 'backup_gigabytes']) {
        await addUsage(bench(), row.project_id, { resource, in_use: parents + 4 })
      }
      const mine = async (table: string) =>
        (await bench().rows(table)).filter((one) => {
          const isOurs = [row.id, parent.id].includes(String(one['id']))
          return isOurs || one['project_id'] === row.project_id || one['backup_id'] === row.id
        })
      const before = new Map<string, readonly Columns[]>()
      for (const { table } of changes) before.set(table, await mine(table))

      assert.equal(await records.deleteBackup(row.id, signal), true)

      const isTime = (name: string) => /_at$|^expire$/.test(name)
      for (const table of new Set(changes.map((one) => one.table))) {
        const after = await mine(table)
        const old = before.get(table) ?? []
        const seen = after.map((one): Columns => {
          const was = old.find(({ id }) => id === one['id'])
          const names = Object.keys(one).filter((name) => one[name] !== (was?.[name] ?? null))
          return Object.fromEntries(names.map((name) => [name, one[name] ?? null]))
        })
        const expected = changes
          .filter((one) => one.table === table)
          .map(({ changed = {}, inserted }): Columns => {
            const to = Object.entries(changed).map(([name, values]) => [name, values[1] ?? null])
            return inserted ?? Object.fromEntries(to)
          })
        const shown = (rows: readonly Columns[]) =>
          rows
            .map((one) =>
              Object.entries(one)
                .filter(([name, value]) => value !== null && !/^(id|uuid|usage_id)$/.test(name))
                // Cinder's row had been touched by its manager a second before.
                .filter(
                  ([name]) => !(name === 'updated_at' && 'deleted' in one && table === 'backups'),
                )
                .map(([name, value]) => {
                  if (isTime(name)) return [name, 'a time']
                  if (name === 'project_id') return [name, 'the project']
                  return [name, name === 'deleted' ? Boolean(value) : value]
                })
                .toSorted(),
            )
            .filter((one) => one.length > 0)
            .toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))
        assert.deepEqual(shown(seen), shown(expected), table)
      }
      const [reservation] = await mine('reservations')
      const dayMs =
        Date.parse(String(reservation?.['expire'])) -
        Date.parse(String(reservation?.['created_at']))
      assert.ok(Math.abs(dayMs - 86_400_000) <= 1000)
    })
  }

  test(`${adapter}: what was deleted is not deleted again, and gives no quota back`, async () => {
    await using records = await bench().open()
    const row = newBackup({ status: 'available' })
    await bench().insert('backups', row)
    for (const resource of ['backups', 'backup_gigabytes']) {
      await addUsage(bench(), row.project_id, { resource, in_use: 10 })
    }

    assert.equal(await records.deleteBackup(row.id, signal), true)
    assert.equal(await records.deleteBackup(row.id, signal), false)
    assert.equal(await records.deleteBackup(randomUUID(), signal), false)

    assert.deepEqual(await usagesOf(bench(), row.project_id), { backups: 9, backup_gigabytes: 7 })
    assertRecent((await records.backup(row.id, signal))?.deleted_at)
  })

  test(`${adapter}: neither quota nor the count of dependents goes below 0`, async () => {
    await using records = await bench().open()
    const parent = newBackup({ status: 'available', num_dependent_backups: 0 })
    const row = newBackup({ status: 'available', parent_id: parent.id })
    for (const one of [parent, row]) await bench().insert('backups', one)
    for (const resource of ['backups', 'backup_gigabytes']) {
      await addUsage(bench(), row.project_id, { resource, in_use: resource === 'backups' ? 0 : 2 })
    }

    await records.deleteBackup(row.id, signal)

    assert.deepEqual(await usagesOf(bench(), row.project_id), { backups: 0, backup_gigabytes: 0 })
    assert.equal((await records.backup(parent.id, signal))?.num_dependent_backups, 0)
  })

  test(`${adapter}: a child that was never counted takes nothing off what its parent counts`, async () => {
    await using records = await bench().open()
    const parent = newBackup({ status: 'available', num_dependent_backups: 0 })
    const of = { parent_id: parent.id, project_id: parent.project_id }
    const [good, failed] = [newBackup(of), newBackup({ ...of, status: 'error' })]
    for (const one of [parent, good, failed]) await bench().insert('backups', one)
    const count = async () => (await records.backup(parent.id, signal))?.num_dependent_backups

    await records.finishBackup(good.id, ['creating'], { status: 'available' }, signal)
    await records.deleteBackup(failed.id, signal)
    assert.equal(await count(), 1)
    await records.changeBackup(good.id, null, { status: 'deleting' }, signal)
    await records.deleteBackup(good.id, signal)
    assert.equal(await count(), 0)
  })

  test(`${adapter}: a usage that is not there is made by counting what is left`, async () => {
    await using records = await bench().open()
    const project_id = randomUUID()
    const rows = [2, 4, 8, 16].map((size) => newBackup({ project_id, size, status: 'available' }))
    for (const row of rows) await bench().insert('backups', row)
    await addUsage(bench(), project_id, { resource: 'backups', in_use: 4 })

    for (const row of rows.slice(0, 2)) await records.deleteBackup(row.id, signal)

    assert.deepEqual(await usagesOf(bench(), project_id), { backups: 2, backup_gigabytes: 24 })
  })

  test(`${adapter}: of a delete and an end that meet, each leaves all of its work or none`, async () => {
    await using records = await bench().open()
    await using other = await bench().open()
    for (let round = 0; round < 20; round++) {
      const parent = newBackup({ status: 'available', num_dependent_backups: 0 })
      const row = newBackup({ parent_id: parent.id, project_id: parent.project_id })
      for (const one of [parent, row]) await bench().insert('backups', one)
      for (const resource of ['backups', 'backup_gigabytes']) {
        await addUsage(bench(), row.project_id, { resource, in_use: 10 })
      }

      const [finished, deleted] = await Promise.all([
        records.finishBackup(row.id, ['creating'], { status: 'available' }, signal),
        other.deleteBackup(row.id, signal),
      ])

      const backup = await records.backup(row.id, signal)
      assert.equal(deleted, true)
      assert.deepEqual([backup?.status, backup?.deleted], ['deleted', true], `${finished}`)
      assert.equal((await records.backup(parent.id, signal))?.num_dependent_backups, 0)
      assert.deepEqual(await usagesOf(bench(), row.project_id), { backups: 9, backup_gigabytes: 7 })
    }
  })

  test(`${adapter}: who has stopped waiting is told so`, async () => {
    await using records = await bench().open()
    const stopped = AbortSignal.abort(new Error('enough'))

    await assert.rejects(records.backup(randomUUID(), stopped), /^Error: enough$/)
    await assert.rejects(records.deleteBackup(randomUUID(), stopped), /^Error: enough$/)
    await assert.rejects(records.heartbeat('storage1', stopped), /^Error: enough$/)
  })

  test(`${adapter}: no quota is lost where twenty backups of a project are deleted at once`, async () => {
    await using records = await bench().open()
    await using other = await bench().open()
    const { project_id: projectId } = newBackup()
    const rows = Array.from({ length: 20 }, () =>
      newBackup({ project_id: projectId, status: 'deleting', size: 3 }),
    )
    for (const row of rows) await bench().insert('backups', row)
    await addUsage(bench(), projectId, { resource: 'backups', in_use: 25 })
    await addUsage(bench(), projectId, { resource: 'backup_gigabytes', in_use: 70 })

    const deleted = await Promise.all(
      rows.map(({ id }, i) => (i % 2 === 0 ? records : other).deleteBackup(id, signal)),
    )

    assert.deepEqual(new Set(deleted), new Set([true]))
    const left = { backups: 5, backup_gigabytes: 10 }
    assert.deepEqual(await usagesOf(bench(), projectId), left)
  })
}
