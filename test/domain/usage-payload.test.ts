import assert from 'node:assert/strict'
import { test } from 'node:test'

import { usagePayload, zonedTime } from '#src/domain/usage-payload.ts'
import { aRecord } from '../support/builders.ts'

test('the payload has the keys of Cinder, in its order', () => {
  // Source: a notification recorded from cinder 21.3.1.
  assert.deepEqual(Object.keys(usagePayload(aRecord())), [
    ...['tenant_id', 'user_id', 'availability_zone', 'backup_id', 'host', 'display_name'],
    ...['created_at', 'status', 'volume_id', 'size', 'service_metadata', 'service'],
    ...['fail_reason', 'parent_id', 'num_dependent_backups', 'snapshot_id'],
  ])
})

test('a record without a time of creation has none in the payload', () => {
  assert.equal(usagePayload(aRecord({ created_at: null }))['created_at'], null)
})

for (const [text, zoned] of [
  ['2026-11-22T10:11:12Z', '2026-11-22T10:11:12+00:00'],
  ['2026-11-22 10:11:12', '2026-11-22T10:11:12+00:00'],
  ['2026-11-22T10:11:12.5', '2026-11-22T10:11:12.5+00:00'],
  ['2026-11-22T10:11:12+02:00', '2026-11-22T10:11:12+02:00'],
] as const) {
  test(`${text} is ${zoned} in a payload`, () => {
    assert.equal(zonedTime(text), zoned)
  })
}
