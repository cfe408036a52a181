import assert from 'node:assert/strict'
import { after, type TestContext, test } from 'node:test'

import { identityHttp } from '#src/adapters/identity/identity-http.ts'
import { type Certificates, certificates } from '../../support/certificates.ts'
import { faultProxy } from '../../support/fault-proxy.ts'
import { services } from '../../support/services.ts'

const signal = AbortSignal.timeout(60_000)
const known = certificates(after)

/** Asks the real Keystone behind a TLS front that shows `certificate`. */
async function asked(
  t: TestContext,
  kind: Exclude<keyof Certificates, 'caFile'> | null,
  options: { readonly caFile: string | null; readonly insecure: boolean },
) {
  const { url } = services().keystone
  const proxy = await faultProxy(t, url, kind === null ? undefined : known[kind])
  const ask = identityHttp({ ...options, requestMs: 20_000 })
  const address = proxy.inFrontOf(url).replace('http:', 'https:')
  const request = { action: 'log in', method: 'GET', url: address } as const
  return { proxy, status: ask(request, signal).then(({ status }) => status) }
}

test('the certificate of a known CA is trusted', async (t) => {
  const { status } = await asked(t, 'good', { caFile: known.caFile, insecure: false })

  assert.equal(await status, 200)
})

for (const kind of [
  'selfSigned',
  'otherCa',
  'expired',
  'notYetValid',
  'wrongName',
  null,
] as const) {
  test(`${kind ?? 'no TLS'} at the other end is refused, and sees no request`, async (t) => {
    const { proxy, status } = await asked(t, kind, { caFile: known.caFile, insecure: false })

    await assert.rejects(status, {
      code: 'ENDPOINT_NOT_FOUND',
      message:
        /^log in: the certificate or TLS was refused \(\w+\); check backup_swift_ca_cert_file/,
    })
    assert.deepEqual(proxy.seen, [])
  })
}

test("a site's own CA is unknown without its file, and insecure trusts it all the same", async (t) => {
  const unknown = await asked(t, 'good', { caFile: null, insecure: false })
  await assert.rejects(unknown.status, { code: 'ENDPOINT_NOT_FOUND' })

  const insecure = await asked(t, 'expired', { caFile: null, insecure: true })
  assert.equal(await insecure.status, 200)
})

test('a CA file that cannot be read is said at the start', () => {
  const options = { caFile: '/nonexistent/ca.pem', insecure: false, requestMs: 1000 }

  assert.throws(() => identityHttp(options), { code: 'CONFIGURATION_INVALID' })
})
