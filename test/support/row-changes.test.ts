import assert from 'node:assert/strict'
import { test } from 'node:test'

import { differencesOf, type RowChange, RowStory } from './row-changes.ts'
import { recordedSteps } from './stock-rows.ts'

/** The recorded session as another one would be: other ids, other times. */
function elsewhere(changes: readonly RowChange[]): readonly RowChange[] {
  const text = JSON.stringify(changes)
    .replace(/[0-9a-f]{8}(?=-[0-9a-f]{4}-)/g, (id) => (id === '00000000' ? id : mirror(id)))
    .replace(/\b2026-11-23/g, '2027-01-02')
    .replace(/\b20261123/g, '20270102')
  return JSON.parse(text)
}

const mirror = (hex: string) =>
  (2 ** 32 - 1 - Number.parseInt(hex, 16)).toString(16).padStart(8, '0')

test('28 steps of a session equal those of another with other ids and times', () => {
  const [one, other] = [new RowStory(), new RowStory()]
  const steps = recordedSteps()
  assert.equal(steps.length, 28)
  for (const { number, changes } of steps) {
    const ours = other.factsOf(number, elsewhere(changes))
    assert.deepEqual(differencesOf(number, one.factsOf(number, changes), ours), [])
  }
})

test('another value, one that stayed and a row too few are differences', () => {
  const steps = recordedSteps()
  const [one, other] = [new RowStory(), new RowStory()]
  const found = steps.flatMap(({ number, changes }) => {
    const ours = changes.flatMap(({ ...change }): RowChange[] => {
      if (number === '22' && change.table === 'backup_metadata') return []
      if (number === '16' && change.changed !== undefined) {
        const { status: _, ...changed } = change.changed
        return [{ ...change, changed }]
      }
      if (number === '26' && change.inserted?.['status'] === 'creating') {
        return [{ ...change, inserted: { ...change.inserted, status: 'error' } }]
      }
      return [change]
    })
    return differencesOf(number, one.factsOf(number, changes), other.factsOf(number, ours))
  })
  assert.deepEqual(
    found.map(({ step, table, column, ours }) => [step, table, column, ours]),
    [
      ['16', 'backups', 'status', 'as before'],
      ['22', 'backup_metadata', '*', 'none'],
      ['26', 'backups', 'status', 'error'],
    ],
  )
})
