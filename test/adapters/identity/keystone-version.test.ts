import assert from 'node:assert/strict'
import { test } from 'node:test'

import { identityHttp } from '#src/adapters/identity/identity-http.ts'
import { checkKeystone } from '#src/adapters/identity/keystone-version.ts'
import { services } from '../../support/services.ts'

const ask = identityHttp({ caFile: null, insecure: false, requestMs: 10_000 })
const signal = new AbortController().signal

test('a real Keystone answers, with and without its version in the address', async () => {
  const { url } = services().keystone

  await checkKeystone(url, ask, signal)
  await checkKeystone(url.replace(/\/v3$/, ''), ask, signal)
})

test('what answers but is no Keystone is told, and so is an address where nobody is', async () => {
  const { url } = services().swift

  await assert.rejects(checkKeystone(url, ask, signal), { code: 'ENDPOINT_NOT_FOUND' })
  await assert.rejects(checkKeystone('http://127.0.0.1:1', ask, signal), {
    code: 'IDENTITY_UNAVAILABLE',
  })
})
