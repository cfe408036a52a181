import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, type TestContext, test } from 'node:test'

import { openSwift, type SwiftOptions } from '#src/adapters/object-store/swift-store.ts'
import type { StoreAccess } from '#src/ports/identity.ts'
import { collectingSink, streamedBody } from '../../contracts/object-store.ts'
import { type Certificates, certificates } from '../../support/certificates.ts'
import { faultProxy } from '../../support/fault-proxy.ts'
import { keystoneAccess, swiftContainer } from '../../support/stores.ts'

const signal = AbortSignal.timeout(120_000)
const options: SwiftOptions = {
  caFile: null,
  insecure: false,
  connectMs: 5_000,
  idleMs: 20_000,
  createContainers: true,
  storagePolicy: null,
}

const known = certificates(after)
let real: StoreAccess
before(async () => {
  real = await keystoneAccess('demo')
})

/** The real Swift behind a TLS front that shows `certificate`. */
async function opened(
  t: TestContext,
  kind: Exclude<keyof Certificates, 'caFile'> | null,
  { caFile = known.caFile, insecure = false }: Partial<SwiftOptions> = {},
) {
  const proxy = await faultProxy(t, real.url, kind === null ? undefined : known[kind])
  const { pathname } = new URL(real.url)
  const url = proxy.origin.replace('http:', 'https:') + pathname
  const client = openSwift({ ...options, caFile, insecure })
  t.after(() => client[Symbol.asyncDispose]())
  const access = { url, token: real.token }
  const renew = () => Promise.reject(new Error('not to be renewed'))
  const { name: container } = await swiftContainer(t, async () => real)
  return { proxy, container, store: client.store({ access: async () => access, renew }) }
}

test('through TLS objects of all sizes go and come whole', async (t) => {
  const { container, store } = await opened(t, 'good')

  for (const sizeBytes of [0, 1, 1024 * 1024, 5 * 1024 * 1024 + 1]) {
    const body = randomBytes(sizeBytes)
    for (const sent of [body, streamedBody([body]).body]) {
      const id = { container, name: 'a' }
      const sink = collectingSink()
      await store.putObject(id, sent, signal)
      await store.getObject(id, sink, signal)
      assert.ok(sink.bytes().equals(body))
    }
  }
})

for (const [kind, code] of [
  ['selfSigned', /DEPTH_ZERO_SELF_SIGNED_CERT/],
  ['otherCa', /UNABLE_TO_/],
  ['expired', /CERT_HAS_EXPIRED/],
  ['notYetValid', /CERT_NOT_YET_VALID/],
  ['wrongName', /ERR_TLS_CERT_ALTNAME_INVALID/],
  [null, /EPROTO|ERR_SSL_/],
] as const) {
  test(`${kind ?? 'no TLS'} at the other end is refused, and sees no request`, async (t) => {
    const { proxy, container, store } = await opened(t, kind)
    const id = { container, name: 'a' }

    const error = await store.putObject(id, Buffer.of(1), signal).catch((thrown) => thrown)

    assert.equal(error.code, 'STORE_REFUSED')
    assert.match(error.message, code)
    assert.match(error.message, /check backup_swift_ca_cert_file/)
    assert.deepEqual(proxy.seen, [])
  })
}

test("a site's own CA is unknown without its file", async (t) => {
  const { container, store } = await opened(t, 'good', { caFile: null })

  await assert.rejects(store.listPage(container, '', '', signal), { code: 'STORE_REFUSED' })
})

test('insecure trusts any certificate', async (t) => {
  const { container, store } = await opened(t, 'expired', { caFile: null, insecure: true })

  assert.deepEqual(await store.listPage(container, '', '', signal), [])
})

test('a CA file that cannot be read is said at the start', () => {
  assert.throws(() => openSwift({ ...options, caFile: '/nonexistent/ca.pem' }), {
    code: 'CONFIGURATION_INVALID',
    message: /^cannot read the CA file \/nonexistent\/ca.pem: ENOENT.*backup_swift_ca_cert_file$/,
  })
})
