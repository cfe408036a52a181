import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import path from 'node:path'
import { after, test } from 'node:test'

import type { RabbitOptions } from '#src/adapters/rpc/rabbit-options.ts'
import { certificates } from '../../support/certificates.ts'
import { wholeFile } from '../../support/driven-agent.ts'
import { eventually, plainClient } from '../../support/rabbit.ts'
import { rabbitPeers } from '../../support/rabbit-peers.ts'
import { privateRabbit } from '../../support/rabbit-vhost.ts'

// A real RabbitMQ that listens with TLS and wants certificates of its clients.

const made = certificates((remove) => after(remove))
const folder = path.dirname(made.caFile)
const pem = (name: string) => path.join(folder, name)
const tlsPort = await freePort()
const broker = await privateRabbit(wholeFile, {
  plugins: 'rabbitmq_auth_mechanism_ssl',
  conf: `
listeners.ssl.1 = 127.0.0.1:${tlsPort}
ssl_options.cacertfile = ${made.caFile}
ssl_options.certfile = ${pem('good.pem')}
ssl_options.keyfile = ${pem('good.key')}
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
auth_mechanisms.1 = EXTERNAL
auth_mechanisms.2 = PLAIN
auth_mechanisms.3 = AMQPLAIN
ssl_cert_login_from = common_name
`,
})
await broker.ctl('add_user', 'good', 'no-password-is-asked')
await broker.ctl('set_permissions', 'good', '.*', '.*', '.*')

const transportUrl = broker.transportUrl.replace(/:\d+\//, `:${tlsPort}/`)
const ours = { sslCertFile: pem('good.pem'), sslKeyFile: pem('good.key') }
const tls: Partial<RabbitOptions> = { ssl: true, sslCaFile: made.caFile, rabbitRetryInterval: 0.2 }

for (const rabbitLoginMethod of ['AMQPLAIN', 'PLAIN', 'EXTERNAL']) {
  test(`a client with a certificate logs in by ${rabbitLoginMethod} and is served`, async (t) => {
    const url =
      rabbitLoginMethod === 'EXTERNAL'
        ? transportUrl.replace(/\/\/[^@]+@/, '//nobody:wrong@') // The certificate says who.
        : transportUrl
    const peers = rabbitPeers(t, {
      transportUrl: url,
      rabbit: { ...tls, ...ours, rabbitLoginMethod },
    })
    await peers.serve()

    const client = await plainClient(t, broker.amqpUrl)
    client.publish('openstack', 'cinder-backup', JSON.stringify({ method: 'a' }))

    assert.equal((await peers.requests.next()).method, 'a')
  })
}

const refused: readonly [string, Partial<RabbitOptions>, RegExp][] = [
  ['without a certificate', {}, /wants a certificate of ours: set ssl_cert_file and ssl_key_file/],
  [
    'with a certificate of another CA',
    { sslCertFile: pem('of-other-ca.pem'), sslKeyFile: pem('of-other-ca.key') },
    /does not know the CA that signed ssl_cert_file/,
  ],
  [
    'with a broker of another CA',
    { ...ours, sslCaFile: pem('other-ca.pem') },
    /set ssl_ca_file to the CA that signed the certificate of the broker/,
  ],
]

for (const [what, options, advice] of refused) {
  test(`a client ${what} logs what helps, and tries again`, async (t) => {
    const peers = rabbitPeers(t, { transportUrl, rabbit: { ...tls, ...options } })
    const stop = new AbortController()
    const serving = peers.server.serve(async () => ({ kind: 'ignored' }), stop.signal)
    serving.catch(() => {}) // It is stopped.

    await eventually(
      () => peers.log.lines.some(({ fields }) => advice.test(JSON.stringify(fields))),
      `the log says ${advice}`,
    ).catch((error: Error) => {
      throw new Error(`${error.message}: ${JSON.stringify(peers.log.lines)}`)
    })
    stop.abort()
    await assert.rejects(serving)
  })
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  assert.ok(typeof address === 'object' && address !== null)
  return address.port
}
