import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, test } from 'node:test'
import { getCACertificates } from 'node:tls'

import { isTlsRefusal, trustedCertificates } from '#src/lib/tls-trust.ts'
import { certificates } from '../support/certificates.ts'

test('a CA file is trusted instead of all others', () => {
  const { caFile } = certificates(after)

  assert.deepEqual(trustedCertificates(caFile), [readFileSync(caFile, 'utf8')])
})

test("without a file Node's own certificates and the system's are trusted", () => {
  const trusted = new Set(trustedCertificates(null))

  for (const source of ['default', 'system'] as const) {
    assert.ok(getCACertificates(source).every((certificate) => trusted.has(certificate)))
  }
})

test('what a certificate is refused for is told from a connection that breaks', () => {
  const refusals = [
    'CERT_HAS_EXPIRED',
    'DEPTH_ZERO_SELF_SIGNED_CERT',
    'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  ]
  for (const code of [
    ...refusals,
    'ERR_TLS_CERT_ALTNAME_INVALID',
    'ERR_SSL_WRONG_VERSION_NUMBER',
  ]) {
    assert.ok(isTlsRefusal(code), code)
  }
  for (const code of ['ECONNRESET', 'ETIMEDOUT', 'UND_ERR_SOCKET', 'EPIPE', '']) {
    assert.ok(!isTlsRefusal(code), code)
  }
})
