import assert from 'node:assert/strict'
import { test } from 'node:test'

import { rabbitDefaults } from '#src/adapters/rpc/rabbit-options.ts'
import { type BrokerHost, parseTransportUrl } from '#src/adapters/rpc/transport-url.ts'

const hosts: readonly [string, readonly Partial<BrokerHost>[], string][] = [
  [
    'rabbit://u:p@h1:5673/vhost',
    [{ hostname: 'h1', port: 5673, username: 'u', password: 'p' }],
    'vhost',
  ],
  [
    'rabbit://u:p@h1,u2:p2@h2:5673/',
    [
      { hostname: 'h1', port: 5672, username: 'u', password: 'p' },
      { hostname: 'h2', port: 5673, username: 'u2', password: 'p2' },
    ],
    '/',
  ],
  ['rabbit://u:p@h1,h2/x', [{ username: 'u' }, { username: 'guest', password: 'guest' }], 'x'],
  ['rabbit://u%40d:p%2C%3A%2F%25@h/', [{ username: 'u@d', password: 'p,:/%' }], '/'],
  ['rabbit://u:p@ss@h/', [{ username: 'u', password: 'p@ss', hostname: 'h' }], '/'],
  ['rabbit://u:a:b@h/', [{ username: 'u', password: 'a:b' }], '/'],
  ['rabbit://u:p@[::1]:5673/', [{ hostname: '::1', port: 5673, username: 'u' }], '/'],
  ['rabbit://[fe80::1]/', [{ hostname: 'fe80::1', port: 5672, username: 'guest' }], '/'],
  ['rabbit://', [{ hostname: 'localhost', port: 5672, username: 'guest' }], '/'],
  ['rabbit:///openstack', [{ hostname: 'localhost' }], 'openstack'],
  ['rabbit://h', [{ hostname: 'h' }], '/'],
  ['rabbit://h//', [{ hostname: 'h' }], '/'],
  ['rabbit://h/a%2Fb', [{ hostname: 'h' }], 'a/b'],
  ['kombu://h/', [{ hostname: 'h' }], '/'],
]

for (const [url, expected, vhost] of hosts) {
  test(`${url} names its hosts and its virtual host`, () => {
    const transport = parseTransportUrl(url, rabbitDefaults)

    assert.equal(transport.hosts.length, expected.length)
    for (const [index, host] of expected.entries()) {
      assert.partialDeepStrictEqual(transport.hosts[index], host)
    }
    assert.equal(transport.virtualHost, vhost)
    assert.deepEqual(transport.rabbit, rabbitDefaults)
  })
}

test('options in the query win, with the type that they have', () => {
  const { rabbit } = parseTransportUrl(
    'rabbit://h/?ssl=1&rabbit_quorum_queue=True&heartbeat_timeout_threshold=30' +
      '&ssl_ca_file=/etc/ca.pem&amqp_auto_delete=off&rpc_conn_pool_size=5',
    { ...rabbitDefaults, amqpAutoDelete: true, rabbitHaQueues: true },
  )

  assert.deepEqual(rabbit, {
    ...rabbitDefaults,
    rabbitHaQueues: true,
    ssl: true,
    rabbitQuorumQueue: true,
    heartbeatTimeoutThreshold: 30,
    sslCaFile: '/etc/ca.pem',
  })
})

const refused: readonly [string, RegExp][] = [
  ['amqp://u:secret@h/', /scheme amqp/],
  ['kafka://u:secret@h/', /scheme kafka/],
  ['u:secret@h', /not of the form/],
  ['', /not of the form/],
  ['rabbit://u:secret@h:port/', /not host:port/],
  ['rabbit://u:secret@h:70000/', /port 70000/],
  ['rabbit://u:secret@h/?rabbit_qorum_queue=1', /unknown option "rabbit_qorum_queue"/],
  ['rabbit://u:secret@h/?rabbitQuorumQueue=1', /unknown option/],
  ['rabbit://u:secret@h/?__proto__=1', /unknown option/],
  ['rabbit://u:secret@h/?ssl=maybe', /ssl to what is neither/],
  ['rabbit://u:secret@h/?rabbit_retry_interval=soon', /rabbit_retry_interval to what is not/],
  ['rabbit://u:secret@h/?rabbit_login_method=EXTRENAL', /none of PLAIN, AMQPLAIN, EXTERNAL/],
  ['rabbit://u:secret@h/?kombu_failover_strategy=random', /none of round-robin, shuffle/],
  ['rabbit://u:secret%@h/', /not followed by two hexadecimal digits/],
]

for (const [url, message] of refused) {
  test(`${url} is refused without showing the password`, () => {
    assert.throws(
      () => parseTransportUrl(url, rabbitDefaults),
      (error: Error & { code?: string }) =>
        error.code === 'CONFIGURATION_INVALID' &&
        message.test(error.message) &&
        !error.message.includes('secret'),
    )
  })
}
