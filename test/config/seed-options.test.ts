// The options of the driver of 2014, and what became of them: see docs/compatibility.md.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { type Config, loadConfig } from '#src/config.ts'

/** The configuration of these options of [DEFAULT], beside a bus. */
function configOf(options: Readonly<Record<string, string>>): Config {
  const env: Record<string, string> = { CBA_DEFAULT_TRANSPORT_URL: 'rabbit://user:key@bus/' }
  for (const [name, value] of Object.entries(options)) {
    env[`CBA_DEFAULT_${name.toUpperCase()}`] = value
  }
  return loadConfig({ paths: [], env }).config
}

const singleUser = {
  backup_swift_auth: 'single_user',
  backup_swift_auth_url: 'http://proxy:8080/auth/v1.0',
  backup_swift_user: 'test:tester',
  backup_swift_key: 'testing',
}

test('requests to the store are tried 3 times more, after 2 seconds at first', () => {
  const { retry } = configOf({})

  assert.equal(retry.attemptsMax, 1 + 3)
  assert.equal(retry.backoffMs, 2000)
})

test('without backup_swift_url the store comes from the catalogue', () => {
  const { swift } = configOf({})

  assert.equal(swift.url, null)
  assert.equal(swift.catalogInfo, 'object-store:swift:publicURL')
})

for (const value of ['per_project', 'singleuser', '']) {
  test(`backup_swift_auth cannot be ${JSON.stringify(value)}`, () => {
    assert.throws(() => configOf({ backup_swift_auth: value }), {
      code: 'CONFIGURATION_INVALID',
      message: /backup_swift_auth/,
    })
  })
}

test('single_user without its user is refused by the name of the option', () => {
  const { backup_swift_user: _, ...rest } = singleUser

  assert.throws(() => configOf(rest), {
    code: 'CONFIGURATION_INVALID',
    message: /backup_swift_user: is needed/,
  })
})

test('single_user logs in at backup_swift_auth_url, whatever backup_swift_url says', () => {
  const { swift } = configOf({ ...singleUser, backup_swift_url: 'http://elsewhere/v1/AUTH_' })

  assert.equal(swift.singleUser.authUrl, 'http://proxy:8080/auth/v1.0')
})

test('backup_swift_tenant is the project where backup_swift_project names none', () => {
  const tenant = { ...singleUser, backup_swift_tenant: 'old' }
  const projectOf = (options: Record<string, string>) =>
    configOf(options).swift.singleUser.projectName

  assert.equal(projectOf(tenant), 'old')
  assert.equal(projectOf({ ...tenant, backup_swift_project: 'new' }), 'new')
})

for (const version of ['2', '2.0', '4']) {
  test(`backup_swift_auth_version cannot be ${version}`, () => {
    assert.throws(() => configOf({ ...singleUser, backup_swift_auth_version: version }), {
      code: 'CONFIGURATION_INVALID',
      message: /backup_swift_auth_version/,
    })
  })
}

for (const [written, codec] of [
  ['none', 'none'],
  ['OFF', 'none'],
  ['No', 'none'],
  ['zlib', 'zlib'],
  ['GZip', 'zlib'],
  ['zstd', 'zstd'],
] as const) {
  test(`backup_compression_algorithm ${written} means ${codec}`, () => {
    const { backups } = configOf({ backup_compression_algorithm: written })
    assert.equal(backups.compression, codec)
  })
}

test('an unknown compression is refused at the start', () => {
  assert.throws(() => configOf({ backup_compression_algorithm: 'lz4' }), {
    code: 'CONFIGURATION_INVALID',
    message: /backup_compression_algorithm.*zstd/,
  })
})

test('availability zone and TLS options are taken from where Cinder has them', () => {
  const { availabilityZone, swift } = configOf({
    storage_availability_zone: 'az-2',
    backup_swift_ca_cert_file: '/etc/hostname',
    backup_swift_auth_insecure: 'true',
  })

  assert.equal(availabilityZone, 'az-2')
  assert.equal(swift.caFile, '/etc/hostname')
  assert.equal(swift.isInsecure, true)
})
