import assert from 'node:assert/strict'
import { test } from 'node:test'

import { jobKey } from '#src/domain/job.ts'
import { isJsonObject } from '#src/domain/json.ts'
import { redactContext } from '#src/domain/request-context.ts'
import { aContext, aRecord, aRequest } from '../support/builders.ts'

test('the same work has the same key; restores onto two volumes are two works', () => {
  const record = aRecord()
  const target = { targetVolumeId: '73eac886-0a63-458a-9380-c8937ce0a3a3' }
  const keys = [
    aRequest('create', record),
    aRequest('create', { ...record, size: 7 }, { volumeMeta: '{}' }),
    aRequest('delete', record),
    aRequest('restore', record, target),
    aRequest('restore', record, { ...target, volumeIsNew: true }),
    aRequest('restore', record),
  ].map(jobKey)

  assert.equal(keys[0], keys[1])
  assert.equal(keys[3], keys[4])
  assert.equal(new Set(keys).size, 4)
})

test('a list and null are no JSON objects', () => {
  assert.deepEqual([{}, [], null, 'x', 1].map(isJsonObject), [true, false, false, false, false])
})

test('a context on the bus has no token, no catalogue and no address, whatever was received', () => {
  const secret = 'gAAAAA-secret'
  const context = aContext({
    authToken: secret,
    values: { auth_token: secret, service_catalog: [secret], remote_address: secret, roles: ['r'] },
  })

  const redacted = redactContext(context, '2026-11-23T00:20:54.573000')

  assert.ok(!JSON.stringify(redacted).includes(secret))
  assert.deepEqual(redacted['roles'], ['r'])
  assert.equal(redacted['read_deleted'], 'no')
  assert.equal(redacted['request_id'], context.requestId)
})
