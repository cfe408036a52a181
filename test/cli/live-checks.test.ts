import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type TestContext, test } from 'node:test'

import { exitCodeOf } from '#src/cli/exit-codes.ts'
import { type LiveResult, liveChecks } from '#src/cli/live-checks.ts'
import { loadConfig } from '#src/config.ts'
import { attachUnit } from '../support/attach-unit.ts'
import { rabbitVhost } from '../support/rabbit-vhost.ts'
import { services } from '../support/services.ts'

const nobody = 'rabbit://u:canary@127.0.0.1:1/'

type Given = Readonly<Record<string, string>>

type More = { readonly ms?: number; readonly login?: Given; readonly more?: Given }

/** What the checks say of a configuration on a machine with one volume, by the first word of each. */
async function checked(
  t: TestContext,
  given: Given,
  ours: Given = {},
  { ms, login = {}, more = {} }: More = {},
) {
  const folder = mkdtempSync(path.join(tmpdir(), 'cba-live-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const devices = path.join(folder, 'devices')
  mkdirSync(devices)
  writeFileSync(path.join(devices, 'volume-1'), '')
  const agent = {
    state_dir: path.join(folder, 'new', 'state'),
    volume_paths: `${devices}/volume-{volume_id}`,
    snapshot_paths: `${devices}/snapshot-{snapshot_id}`,
    ...ours,
  }
  const variables = (section: string, values: Given) =>
    Object.entries(values).map(([name, value]) => [`CBA_${section}_${name}`.toUpperCase(), value])
  const env = Object.fromEntries([
    ...variables('keystone_authtoken', { auth_url: services().keystone.url, ...login }),
    ...variables('DEFAULT', { transport_url: nobody, ...given }),
    ...variables('cinder_backup_agent', agent),
    ...Object.entries(more),
  ])
  const { config } = loadConfig({ paths: [{ kind: 'file', path: '/dev/null' }], env })
  const results = await liveChecks(config, ms)
  const named = (word: string): LiveResult => {
    const found = results.find(({ check }) => check.startsWith(`${word} `))
    assert.ok(found !== undefined, `${word} in ${JSON.stringify(results)}`)
    return found
  }
  return { results, named, folder }
}

function singleUser(): Given {
  const { url, passwordOf } = services().keystone
  return {
    backup_swift_auth: 'single_user',
    backup_swift_auth_version: '3',
    backup_swift_auth_url: url,
    backup_swift_user: 'backup',
    backup_swift_project: 'backup',
    backup_swift_key: passwordOf('backup'),
  }
}

test('with real services that are well, every check is ok', async (t) => {
  const { transportUrl } = await rabbitVhost(t)

  const { results, named } = await checked(t, { transport_url: transportUrl, ...singleUser() })

  assert.deepEqual(
    results.filter(({ outcome }) => outcome !== 'ok'),
    [],
  )
  assert.match(named('devices').what, /may read and write volume-1$/)
  assert.equal(named('state_dir').what, 'not there yet; it will be made')
})

test('with volumes of cinder, who attaches them is asked', async (t) => {
  const unit = await attachUnit(t)
  const database = { CBA_DATABASE_CONNECTION: 'mysql+pymysql://u:p@127.0.0.1:1/cinder' }
  const asked = async (attach_socket: string) =>
    (await checked(t, {}, { attach_socket, records: 'database' }, { more: database })).named(
      'attach',
    )

  const { outcome, what } = await asked(unit.socket)
  const missing = await asked('/nowhere/at/all/socket')

  assert.equal(outcome, 'ok')
  assert.match(what, /^os-brick answers; initiator (iqn\.|none)/)
  assert.equal(missing.outcome, 'not tried')
  assert.match(missing.what, /does not run: only local volumes are attached/)
  assert.ok((await checked(t, {})).results.every(({ check }) => !check.startsWith('attach')))
})

test('a broker that nobody serves is told with its address, and without the password', async (t) => {
  const { named, results } = await checked(t, {})

  const { check, code, what } = named('rabbitmq')
  assert.deepEqual([check, code], ['rabbitmq 127.0.0.1:1', 'BROKER_UNAVAILABLE'])
  assert.match(what, /cannot connect to 127\.0\.0\.1:1/)
  assert.ok(!JSON.stringify(results).includes('canary'))
})

test('a refused login at the broker is told as such', async (t) => {
  const { transportUrl } = await rabbitVhost(t)
  const wrong = transportUrl.replace(/:[^:@]*@/, ':wrong@')

  const { named } = await checked(t, { transport_url: wrong })

  assert.equal(named('rabbitmq').code, 'BROKER_REFUSED')
})

test('a broker that says nothing is given up in time', async (t) => {
  const server = createServer(() => {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)

  const transport_url = `rabbit://u:canary@127.0.0.1:${address.port}/`
  const { named } = await checked(t, { transport_url }, {}, { ms: 300 })

  assert.deepEqual(named('rabbitmq').what, 'no answer in 0.3 s')
})

test('a wrong password of the single user ends with 12, a store that is away with 16', async (t) => {
  const refused = await checked(t, { ...singleUser(), backup_swift_key: 'canary' })
  const away = await checked(t, { backup_swift_url: 'http://127.0.0.1:1/v1/AUTH_' })

  const codes = [refused, away].map(({ named }) => named('swift').code)
  assert.deepEqual(codes, ['CREDENTIALS_REFUSED', 'STORE_UNAVAILABLE'])
  assert.deepEqual(
    codes.map((code) => code && exitCodeOf(code)),
    [12, 16],
  )
})

test('Keystone is asked where a token is to be validated', async (t) => {
  const ours = { validate_tokens: 'true' }
  const well = await checked(t, {}, ours)
  const away = await checked(t, {}, ours, { login: { auth_url: 'http://127.0.0.1:1/v3' } })

  assert.equal(well.named('keystone').code, null)
  assert.equal(away.named('keystone').code, 'IDENTITY_UNAVAILABLE')
})

test('without an address of the store there is nothing to try', async (t) => {
  const { results } = await checked(t, {})

  const found = results.find(({ check }) => check === 'swift')
  assert.deepEqual(found, {
    check: 'swift',
    outcome: 'not tried',
    code: null,
    what: 'its address comes with each request',
  })
})

test('folders that are missing are named', async (t) => {
  const { named } = await checked(
    t,
    { backup_driver: 'cinder.backup.drivers.posix', backup_posix_path: '/dev/null/backup' },
    {
      state_dir: '/dev/null/state',
      volume_paths: '/none/at/all/{volume_id}',
      snapshot_paths: '/none/at/all/{snapshot_id}',
    },
  )

  assert.equal(named('state_dir').code, 'JOURNAL_UNAVAILABLE')
  assert.equal(named('store').code, 'STORE_UNAVAILABLE')
  assert.equal(named('devices').code, 'CONFIGURATION_INVALID')
})
