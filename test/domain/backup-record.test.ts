import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import { ancestorIds } from '#src/domain/backup-record.ts'
import { aRecord } from '../support/builders.ts'

test('the ancestors are those that the records of the request name, nearest first', () => {
  const full = randomUUID()
  const middle = aRecord({ parent_id: full })
  const last = aRecord({ parent_id: middle.id })

  const parent = { record: middle, parent: null }
  assert.deepEqual(ancestorIds({ record: last, parent }), [middle.id, full])
  assert.deepEqual(ancestorIds({ record: last, parent: null }), [middle.id])
  assert.deepEqual(ancestorIds({ record: aRecord(), parent: null }), [])
})
