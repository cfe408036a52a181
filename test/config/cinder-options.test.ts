// The table of Cinder's options in docs/compatibility.md, against what the agent reads.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'

import { misspelling } from '#src/config/misspelling.ts'
import { namedOptions } from '#src/config/schema.ts'
import { inspectConfig } from '#src/config.ts'
import { runPeer } from '../support/python.ts'
import { checkout } from '../support/services.ts'

const page = readFileSync(path.join(checkout, 'docs/compatibility.md'), 'utf8')
const row =
  /^\| O-\d\d \| `((?:\[\w+\] )?\w+)` \| (?:`([^`]+)`)? ?\| (not needed|used|read|refused)/gm
const rows = [...page.matchAll(row)].map(([, option = '', fallback = '', here = '']) => ({
  option,
  fallback,
  here,
}))

/** Section and name of `option` or `[section] option`. */
function placeOf(option: string): TheirOption {
  const [, section = 'DEFAULT', name = option] = option.match(/^\[(\w+)\] (\w+)$/) ?? []
  return { section, option: name }
}

function known(option: string) {
  const place = placeOf(option)
  return namedOptions.find((one) => one.section === place.section && one.option === place.option)
}

for (const { option, fallback } of rows.filter(({ here }) => here !== 'not needed')) {
  test(`${option} is read, with the default of Cinder`, () => {
    assert.ok(known(option) !== undefined)
    assert.equal(String(known(option)?.default ?? ''), fallback)
    const { settings, problems } = inspectConfig({
      paths: [{ kind: 'file', path: '/dev/null' }],
      env: {},
    })
    assert.deepEqual(problems, [])
    const { section, option: name } = placeOf(option)
    assert.ok(name in settings[section as keyof typeof settings])
  })
}

for (const { option } of rows.filter(({ here }) => here === 'not needed')) {
  test(`${option} is taken without a word`, () => {
    assert.equal(known(option), undefined)
    assert.equal(misspelling(placeOf(option)), null)
  })
}

type TheirOption = { readonly section: string; readonly option: string }

test('every backup option of the real Cinder that concerns us has a row', async () => {
  const theirs = (await runPeer('cinder_options.py')) as readonly TheirOption[]
  const others = /^backup_(ceph|s3|gcs|nfs|glusterfs|tsm|mount|share)/
  const ofTheirs = theirs
    .filter(({ section, option }) => section === 'DEFAULT' && option.startsWith('backup_'))
    .map(({ option }) => option)
    .filter((option) => !others.test(option))
  const listed = rows.map(({ option }) => option)
  assert.ok(ofTheirs.length > 20, `${ofTheirs.length}`)
  assert.deepEqual(
    ofTheirs.filter((option) => !listed.includes(option)),
    [],
  )
})

// What Cinder's services share and a backup service follows, whoever registers it: cinder/service.py,
// cinder/common/config.py, cinder/quota.py and the libraries.
const serviceWide = [
  ...['host', 'my_ip', 'storage_availability_zone', 'report_interval', 'service_down_time'],
  ...['periodic_interval', 'periodic_fuzzy_delay', 'transport_url', 'control_exchange'],
  ...['rpc_response_timeout', 'executor_thread_pool_size', '[database] connection'],
  ...['message_ttl', 'reservation_expire', 'until_refresh', 'max_age'],
  ...['quota_backups', 'quota_backup_gigabytes', 'state_path', 'rootwrap_config'],
  ...['driver', 'transport_url', 'topics', 'retry'].map(
    (option) => `[oslo_messaging_notifications] ${option}`,
  ),
  ...['send_service_user_token', 'auth_type', 'auth_url', 'username', 'password'].map(
    (option) => `[service_user] ${option}`,
  ),
  ...['user_domain_name', 'project_name', 'project_domain_name'].map(
    (option) => `[service_user] ${option}`,
  ),
  ...['[key_manager] backend', '[keystone_authtoken] auth_url', '[oslo_concurrency] lock_path'],
]

test('every option of the whole service that a backup service follows has one row', () => {
  const listed = rows.map(({ option }) => option)
  assert.deepEqual(
    serviceWide.filter((option) => !listed.includes(option)),
    [],
  )
  assert.equal(new Set(listed).size, listed.length)
})
