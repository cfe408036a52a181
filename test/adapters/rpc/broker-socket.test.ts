import assert from 'node:assert/strict'
import { connect, createServer as plainServer } from 'node:net'
import path from 'node:path'
import { after, type TestContext, test } from 'node:test'
import { createServer } from 'node:tls'

import { openConnection } from '#src/adapters/rpc/broker-socket.ts'
import { type RabbitOptions, rabbitDefaults } from '#src/adapters/rpc/rabbit-options.ts'
import { parseTransportUrl } from '#src/adapters/rpc/transport-url.ts'
import { certificates, type ServerCertificate } from '../../support/certificates.ts'
import { wholeFile } from '../../support/driven-agent.ts'
import { rabbitVhost } from '../../support/rabbit-vhost.ts'
import { services } from '../../support/services.ts'

const vhost = await rabbitVhost(wholeFile)
const made = certificates((remove) => after(remove))
const signal = new AbortController().signal

/** A door to the broker that speaks TLS with that certificate; resolves to its port. */
async function tlsDoor(t: TestContext, certificate: ServerCertificate): Promise<number> {
  const { host, port } = services().rabbit
  const server = createServer({ ...certificate }, (secure) => {
    const broker = connect(port, host)
    for (const socket of [secure, broker]) socket.on('error', () => socket.destroy())
    secure.pipe(broker).pipe(secure)
  })
  server.on('tlsClientError', () => {}) // The client did not like it.
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  return address.port
}

async function openThrough(port: number, options: Partial<RabbitOptions>) {
  const url = vhost.transportUrl.replace(/@127\.0\.0\.1:\d+/, `@127.0.0.1:${port}`)
  const transport = parseTransportUrl(url, { ...rabbitDefaults, ...options })
  const [host] = transport.hosts
  assert.ok(host)
  return openConnection(transport, host, 'test', signal)
}

for (const login of ['AMQPLAIN', 'PLAIN']) {
  test(`the broker takes a login by ${login}`, async () => {
    const connection = await openThrough(services().rabbit.port, { rabbitLoginMethod: login })
    await connection.close()
  })
}

test('TLS with a certificate of the CA is taken, and closed again', async (t) => {
  const port = await tlsDoor(t, made.good)

  const connection = await openThrough(port, { ssl: true, sslCaFile: made.caFile })

  await connection.close()
  assert.equal((await connection.closed).code, 'BROKER_UNAVAILABLE')
})

const refused = [
  ['selfSigned', /set ssl_ca_file/],
  ['otherCa', /set ssl_ca_file/],
  ['expired', /expired; renew the certificate of the broker/],
  ['notYetValid', /look at the clocks/],
  ['wrongName', /altnames.*or set ssl_enforce_hostname_verification = false/],
] as const

for (const [kind, advice] of refused) {
  test(`TLS with a certificate that is ${kind} is refused, and what helps is told`, async (t) => {
    const port = await tlsDoor(t, made[kind])

    await assert.rejects(openThrough(port, { ssl: true, sslCaFile: made.caFile }), {
      code: 'BROKER_UNAVAILABLE',
      message: new RegExp(`^cannot connect to 127.0.0.1:${port}: .*${advice.source}`),
    })
  })
}

test('TLS on a port without it is told as that', async () => {
  const opening = openThrough(services().rabbit.port, { ssl: true, sslCaFile: made.caFile })

  await assert.rejects(opening, { code: 'BROKER_UNAVAILABLE', message: /speaks no TLS/ })
})

test('the name is not looked at where that is switched off, the chain still is', async (t) => {
  const options = {
    ssl: true,
    sslCaFile: made.caFile,
    sslEnforceHostnameVerification: false,
  }

  const connection = await openThrough(await tlsDoor(t, made.wrongName), options)
  await connection.close()

  await assert.rejects(openThrough(await tlsDoor(t, made.otherCa), options))
})

test('a CA file that cannot be read is a fault of the configuration', async () => {
  const missing = path.join(path.dirname(made.caFile), 'missing.pem')

  await assert.rejects(openThrough(1, { ssl: true, sslCaFile: missing }), {
    code: 'CONFIGURATION_INVALID',
    message: /ssl_ca_file .*ENOENT/,
  })
})

test('a socket that is cut under the connection tells so', async (t) => {
  const doors: (() => void)[] = []
  const { host, port } = services().rabbit
  const door = plainServer((client) => {
    const broker = connect(port, host)
    for (const socket of [client, broker]) socket.on('error', () => socket.destroy())
    doors.push(() => client.destroy())
    client.pipe(broker).pipe(client)
  })
  await new Promise<void>((resolve) => door.listen(0, '127.0.0.1', resolve))
  t.after(() => door.close())
  const address = door.address()
  assert.ok(typeof address === 'object' && address !== null)
  const connection = await openThrough(address.port, {})

  for (const cut of doors) cut()

  assert.equal((await connection.closed).code, 'BROKER_UNAVAILABLE')
  await connection.close()
})
