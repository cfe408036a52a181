import assert from 'node:assert/strict'
import { test } from 'node:test'

import { versionedUrl } from '#src/adapters/identity/keystone-login.ts'

test('an address of Keystone gets its version, whatever it ends with', () => {
  for (const address of [
    'http://k:5000',
    'http://k:5000/',
    'http://k:5000/v3',
    'http://k:5000/v3//',
  ]) {
    assert.equal(versionedUrl(address), 'http://k:5000/v3')
  }
  assert.equal(versionedUrl('https://k/identity'), 'https://k/identity/v3')
})

test('an address of another version, or that is none, is ENDPOINT_NOT_FOUND', () => {
  for (const address of ['http://k/v2.0', 'k:5000/v3', 'http://k/v3?x=1', '']) {
    assert.throws(() => versionedUrl(address), { code: 'ENDPOINT_NOT_FOUND' })
  }
})
