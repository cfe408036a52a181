import assert from 'node:assert/strict'
import { test } from 'node:test'

import { ownAddress } from '#src/config/own-address.ts'

const head = 'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n'

/** A route; addresses as the kernel writes them. */
const route = (device: string, target: string, metric: number, mask: string) =>
  `${device}\t${target}\t00000000\t0001\t0\t0\t${metric}\t${mask}\t0\t0\t0\n`

const local = (...addresses: readonly string[]) =>
  ['127.0.0.1', ...addresses].map((one) => `   |-- ${one}\n      /32 host LOCAL\n`).join('')

const inner = route('eth0', '0000000A', 100, '00FFFFFF') // 10.0.0.0/24
const outer = route('eth1', '000200C0', 100, '00FFFFFF') // 192.0.2.0/24

test('the address is that in the network of the default route', () => {
  const out = route('eth1', '00000000', 50, '00000000')
  const worse = route('eth0', '00000000', 60, '00000000')

  assert.equal(
    ownAddress(head + worse + inner + out + outer, local('10.0.0.5', '192.0.2.7')),
    '192.0.2.7',
  )
})

test('without a network of its own it is the first that is not of this machine alone', () => {
  const out = route('ppp0', '00000000', 0, '00000000')

  assert.equal(ownAddress(head + out, local('198.51.100.9')), '198.51.100.9')
  assert.equal(ownAddress(head, local()), '127.0.0.1')
  assert.equal(ownAddress('', ''), '127.0.0.1')
})
