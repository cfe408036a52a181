import assert from 'node:assert/strict'

import type { Columns } from '#src/ports/records.ts'
import type { cinderRows } from './state-rows.ts'

type Rows = ReturnType<typeof cinderRows>

/** Others change the row right before write number `at`, and what it says then must stand. */
export function meddling(rows: Rows, at: number, writes: { count: number }): Rows['records'] {
  const first = async (row: Columns, foreign: string, write: () => Promise<boolean>) => {
    writes.count += 1
    if (writes.count - 1 !== at) return write()
    Object.assign(row, { status: foreign })
    assert.equal(await write(), false)
    assert.equal(row['status'], foreign)
    return false
  }
  const { records } = rows
  return {
    ...records,
    changeBackup: (...given) =>
      first(rows.backup(), 'meddled', () => records.changeBackup(...given)),
    finishBackup: (...given) =>
      first(rows.backup(), 'meddled', () => records.finishBackup(...given)),
    changeVolume: (id, ...given) =>
      first(rows.volume(id), 'meddled', () => records.changeVolume(id, ...given)),
    changeSnapshot: (...given) =>
      first(rows.snapshot(), 'meddled', () => records.changeSnapshot(...given)),
  }
}
