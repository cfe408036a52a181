import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import { isUuid } from '#src/domain/uuid.ts'

test('a uuid is one in either case, and nothing that only holds one', () => {
  const id = randomUUID()
  assert.ok(isUuid(id) && isUuid(id.toUpperCase()))
  for (const other of [null, 7, '', `${id}\n`, ` ${id}`, `${id}/..`, id.replaceAll('-', '')]) {
    assert.equal(isUuid(other), false, String(other))
  }
})
