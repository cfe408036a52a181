import assert from 'node:assert/strict'
import { test } from 'node:test'

import { documentHeader } from '#src/domain/document-header.ts'

import { aRecord } from '../support/builders.ts'

const times: readonly (readonly [string | null, string])[] = [
  ['2026-11-22T23:51:59Z', '2026-11-22 23:51:59+00:00'],
  ['2026-11-22T23:51:59', '2026-11-22 23:51:59+00:00'],
  ['2026-11-22T23:51:59.000000', '2026-11-22 23:51:59+00:00'],
  ['2026-11-22T23:51:59.5Z', '2026-11-22 23:51:59.500000+00:00'],
  ['2026-11-22 23:51:59.123456+02:00', '2026-11-22 23:51:59.123456+02:00'],
  [null, 'None'],
]

for (const [given, printed] of times) {
  test(`a record of ${given} is dated as Python would: ${printed}`, () => {
    assert.equal(documentHeader(aRecord({ created_at: given })).created_at, printed)
  })
}
