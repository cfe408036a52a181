// What the program that attaches makes of those who mean it no good. It runs as root.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { chmodSync, readdirSync, statSync } from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

import fc from 'fast-check'

import type { Json, JsonObject } from '#src/domain/json.ts'
import { type AttachUnit, attachUnit } from '../support/attach-unit.ts'
import { changed, changeOf, hostileValue, textOf } from '../support/hostile-json.ts'
import { times } from '../support/soak.ts'

const run = promisify(execFile)

/** What it answers to these bytes; null where it closes without a word. */
function answerTo({ socket }: AttachUnit, bytes: string | Buffer): Promise<JsonObject | null> {
  const { promise, resolve, reject } = Promise.withResolvers<JsonObject | null>()
  const peer = net.connect(socket, () => peer.end(bytes))
  let text = ''
  peer.setEncoding('utf8').on('data', (more: string) => {
    text += more
  })
  peer.on('error', () => resolve(null)) // It closed while we wrote.
  peer.on('end', () => {
    try {
      resolve(text === '' ? null : (JSON.parse(text) as JsonObject))
    } catch (error) {
      reject(error)
    }
  })
  return promise
}

const line = (request: Json) => `${JSON.stringify(request)}\n`
const refusal = (answer: JsonObject | null) => answer?.['error'] as JsonObject | undefined

const id = `volume-${randomUUID()}`
const connect = {
  ...{ method: 'connect', id, type: 'gpfs', data: { device_path: '/nowhere' } },
  ...{ multipath: false, tries: 3, access: 'read' },
}
const disconnect = { method: 'disconnect', id, ignore_errors: true }
const properties = { method: 'properties', my_ip: '192.0.2.7', multipath: false }

async function answers(unit: AttachUnit): Promise<void> {
  const { result } = (await answerTo(unit, line(properties))) ?? {}
  assert.equal((result as JsonObject)['ip'], '192.0.2.7', unit.said())
  assert.deepEqual(unit.connected(), [])
}

const deep = 100_000

const malformed: readonly (readonly [string, string | Buffer, RegExp])[] = [
  ['nothing', '', /ends before its line/],
  ['half a line', '{"method": "properties"', /ends before its line/],
  ['noise', Buffer.from([0, 255, 254, 10]), /not JSON/],
  ['no JSON', 'GET / HTTP/1.1\n', /not JSON/],
  ['a list', '[]\n', /not an object/],
  ['what is too deep', `${'['.repeat(deep)}${']'.repeat(deep)}\n`, /not JSON/],
  ['a giant number', `{"method": ${'9'.repeat(5000)}}\n`, /not JSON/],
  ['no number', '{"method": NaN}\n', /not JSON/],
  ['a name twice', '{"method": "properties", "method": "connect"}\n', /twice/],
  ['two requests', `${line(properties)}${line(properties)}`, /one request/],
  ['no method', '{}\n', /no such request/],
  ['another method', '{"method": "execute"}\n', /no such request/],
  ['a method that is none', '{"method": {"connect": 1}}\n', /no such request/],
  ['a root helper', line({ ...properties, root_helper: 'sudo' }), /has the fields/],
  ['too little', line({ method: 'disconnect', id }), /has the fields/],
]

const wrong: readonly (readonly [JsonObject, string])[] = [
  [{ ...properties, my_ip: '; id' }, 'my_ip'],
  [{ ...properties, my_ip: 'x'.repeat(300) }, 'my_ip'],
  [{ ...properties, multipath: 1 }, 'multipath'],
  [{ ...disconnect, id: '../../etc/passwd' }, 'id'],
  [{ ...disconnect, id: `volume-${randomUUID()}\n` }, 'id'],
  [{ ...disconnect, id: 7 }, 'id'],
  [{ ...disconnect, ignore_errors: 'yes' }, 'ignore_errors'],
  [{ ...connect, type: 'os_brick.initiator' }, 'type'],
  [{ ...connect, type: '' }, 'type'],
  [{ ...connect, data: [] }, 'data'],
  [{ ...connect, data: { device_path: '/dev/null\0' } }, 'data'],
  [{ ...connect, data: { target_iqns: [['--version']] } }, 'data'],
  [{ ...connect, data: { deep: { auth: { name: '-x' } } } }, 'data'],
  [{ ...connect, tries: 0 }, 'tries'],
  [{ ...connect, tries: true }, 'tries'],
  [{ ...connect, tries: 1e9 }, 'tries'],
  [{ ...connect, access: 'execute' }, 'access'],
]

test('what is no request is refused in words, and the next one is answered', async (t) => {
  const unit = await attachUnit(t)
  for (const [what, bytes, message] of malformed) {
    const error = refusal(await answerTo(unit, bytes))
    assert.equal(error?.['kind'], 'refused', what)
    assert.match(String(error['message']), message, what)
  }
  for (const [request, field] of wrong) {
    const error = refusal(await answerTo(unit, line(request)))
    assert.equal(error?.['kind'], 'refused', JSON.stringify(request))
    assert.match(String(error['message']), new RegExp(`^${field} of `))
  }
  await answers(unit)
})

test('a line without an end takes no memory and no place', async (t) => {
  const unit = await attachUnit(t)
  const long = Buffer.alloc(300 * 1024, 'x')

  const told = await answerTo(unit, long)

  if (told !== null) assert.match(String(refusal(told)?.['message']), /longer than 262144 bytes/)
  assert.match(unit.said(), /longer than 262144 bytes/)
  const silent = Array.from({ length: 100 }, () => net.connect(unit.socket))
  for (const peer of silent) peer.on('error', () => {})
  t.after(() => {
    for (const peer of silent) peer.destroy()
  })
  await new Promise((resolve) => setTimeout(resolve, 11_000))
  await answers(unit)
})

test('a connection names no folder and no file that it would hand out', async (t) => {
  const unit = await attachUnit(t)
  for (const device_path of ['/etc/shadow', '/etc', '/dev/null', unit.socket, '/proc/self/fd/0']) {
    const error = refusal(await answerTo(unit, line({ ...connect, data: { device_path } })))
    assert.match(String(error?.['message']), /no block device/, device_path)
  }
  const share = { export: '192.0.2.1:/x', name: '../../../../etc/shadow', mount_point_base: '/etc' }
  const nfs = await answerTo(unit, line({ ...connect, type: 'nfs', data: share }))
  assert.ok(refusal(nfs), JSON.stringify(nfs))
  await answers(unit)
})

test('secrets of a connection are in no answer and in no log', async (t) => {
  const unit = await attachUnit(t)
  const secret = 'canary-of-a-password'
  const data = {
    ...{ target_portal: '127.0.0.1:1', target_iqn: 'iqn.2010-10.org.openstack:v', target_lun: 1 },
    ...{ auth_method: 'CHAP', auth_username: 'u', auth_password: secret, access_mode: 'rw' },
  }

  const told = await answerTo(unit, line({ ...connect, type: 'iscsi', data, tries: 1 }))

  assert.equal(refusal(told)?.['kind'], 'failed')
  assert.doesNotMatch(JSON.stringify(told) + unit.said(), new RegExp(secret))
  await answers(unit)
})

test('whoever is not the user is not heard, whatever the socket lets in', async (t) => {
  const unit = await attachUnit(t)
  assert.deepEqual([statSync(unit.socket).uid, statSync(unit.socket).mode & 0o777], [0, 0o600])
  const ask = `
import socket, sys
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
try:
    peer.sendall(sys.argv[2].encode())
    print(repr(peer.recv(65536)))
except OSError:
    print(repr(b''))
`
  const stranger = [
    '--reuid=64123',
    '--regid=64123',
    '--clear-groups',
    '/usr/bin/python3',
    '-c',
    ask,
  ]
  const tell = () => run('setpriv', [...stranger, unit.socket, line(properties)])
  chmodSync(path.dirname(unit.socket), 0o755)
  await assert.rejects(tell(), /PermissionError/)
  chmodSync(unit.socket, 0o666)

  const { stdout } = await tell()

  assert.equal(stdout, "b''\n")
  assert.match(unit.said(), /a process of user 64123 asked, and was not heard/)
  await answers(unit)
})

test('changed requests are refused or end in an error, and the program goes on', async (t) => {
  const unit = await attachUnit(t)
  const seed = Number(process.env['CBA_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
  const requests = fc.record({
    request: fc.constantFrom<Json>(connect, disconnect, properties),
    changes: fc.array(changeOf(hostileValue), { minLength: 1, maxLength: 3 }),
  })
  let refused = 0
  for (const { request, changes } of fc.sample(requests, { numRuns: times(300, 5000), seed })) {
    const text = `${textOf(changed(request, changes))}\n`
    const answer = await answerTo(unit, text)
    const isTold =
      answer === null ? text.length > 256 * 1024 : 'error' in answer !== 'result' in answer
    assert.ok(isTold, `seed ${seed}: ${text.slice(0, 300)}`)
    if (refusal(answer)?.['kind'] === 'refused') refused += 1
  }
  t.diagnostic(`seed ${seed}: ${refused} refused`)
  assert.ok(refused > 50, `${refused}`)
  assert.doesNotMatch(unit.said(), /not thought of/, `seed ${seed}`)
  assert.deepEqual(readdirSync(unit.nodes), [])
  await answers(unit)
})
