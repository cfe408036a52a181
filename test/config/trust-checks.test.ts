import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'

import { inspectConfig, loadConfig, problemText } from '#src/config.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'cba-trust-'))
after(() => rmSync(folder, { recursive: true }))
const file = path.join(folder, 'agent.conf')

const bus = '[DEFAULT]\ntransport_url = rabbit://u:p@127.0.0.1/\n'
const wanted = `${bus}backup_swift_service_auth = true\n[service_user]\nsend_service_user_token = true\n`

function sources(text: string) {
  writeFileSync(file, text)
  return { paths: [{ kind: 'file', path: file } as const], env: {} }
}

/** Problems and warnings, without the place. */
function said(text: string) {
  const { problems, warnings } = inspectConfig(sources(text))
  const texts = (of: typeof problems) => of.map((each) => problemText({ ...each, where: 'x' }))
  return { problems: texts(problems), warnings: texts(warnings) }
}

const password = 'auth_url = http://keystone\nusername = cinder\npassword = s\n'
const applied =
  'auth_url = http://keystone\nauth_type = v3applicationcredential\napplication_credential_secret = s\n'

const incomplete: readonly [string, string, RegExp][] = [
  ['nothing', '', /needs auth_url, username and password in \[service_user\]; set them$/],
  ['no project', password, /needs project_name in \[service_user\]/],
  [
    'an auth_type that is not known',
    'auth_type = v3totp',
    /needs auth_type = password or v3applicationcredential in \[service_user\], not v3totp$/,
  ],
  [
    'an application credential without its secret',
    'auth_type = v3applicationcredential',
    /needs auth_url and application_credential_secret/,
  ],
  ['an application credential without a name', applied, /needs application_credential_id, or /],
  [
    'a named application credential without its user',
    `${applied}application_credential_name = backup`,
    /needs application_credential_id, or application_credential_name and username, in/,
  ],
]

for (const [name, options, complaint] of incomplete) {
  test(`a service user with ${name} is refused`, () => {
    const { problems } = said(wanted + options)

    assert.equal(problems.length, 1)
    assert.match(problems[0] ?? '', complaint)
  })
}

test('what can log in is taken, and the ids and default domains with it', () => {
  for (const options of [
    `${password}project_name = service`,
    `${password}project_id = 1`,
    `${applied}application_credential_id = 1`,
    `${applied}application_credential_name = n\nusername = cinder`,
    `${applied}application_credential_name = n\nuser_id = 1`,
  ]) {
    assert.deepEqual(said(wanted + options), { problems: [], warnings: [] })
  }
  const text = `${wanted}${password}project_name = service\ndefault_domain_name = Site\nuser_domain_id = u1\nproject_domain_id = p1`
  const { serviceUser } = loadConfig(sources(text)).config.identity
  assert.equal(serviceUser?.userDomainId, 'u1')
  assert.equal(serviceUser?.projectDomainName, 'Site')
  assert.equal(serviceUser?.projectDomainId, 'p1')
})

const malformed: readonly [string, RegExp][] = [
  ['keystone:5000/v3', /cannot be used: it starts with keystone:; write http/],
  ['//keystone', /cannot be used: it is no URL; write http/],
  ['http://keystone/v3?x=1', /cannot be used: it has a query or a fragment; write http/],
  [
    'http://user:hush-hush@keystone/v3',
    /cannot be used: it holds a user name or password; write http/,
  ],
  ['http://keystone/v2.0', /http:\/\/keystone\/v2.0 is not of version 3, the only one/],
]
// What the option of Swift says by itself of what is no URL at all.
const noUrl = /backup_swift_auth_url: must be a URL such as/
const single3 = `${bus}backup_swift_auth = single_user\nbackup_swift_auth_version = 3\nbackup_swift_user = u\nbackup_swift_key = k\nbackup_swift_project = p\n`

for (const [url, fault] of malformed) {
  test(`a Keystone at ${url} is refused before the start, wherever it is needed`, () => {
    for (const [name, text] of [
      [
        '[service_user] auth_url',
        `${wanted}${password.replace('http://keystone', url)}project_id = 1`,
      ],
      [
        '[keystone_authtoken] auth_url',
        `${bus}[cinder_backup_agent]\nvalidate_tokens = true\n[keystone_authtoken]\nauth_url = ${url}`,
      ],
      ['[DEFAULT] backup_swift_auth_url', `${single3}backup_swift_auth_url = ${url}`],
    ] as const) {
      const { problems } = said(text)

      assert.ok(
        problems.some(
          (one) => one.startsWith(`x: ${name}: `) && (fault.test(one) || noUrl.test(one)),
        ),
        `${name}: ${problems.join('\n')}`,
      )
      assert.ok(!problems.join().includes('hush-hush'))
      assert.throws(() => loadConfig(sources(text)), { code: 'CONFIGURATION_INVALID' })
    }
  })
}

test('an address of Keystone that nothing needs may be anything', () => {
  const unused = `${bus}[keystone_authtoken]\nauth_url = nowhere\n[service_user]\nauth_url = nowhere`

  assert.deepEqual(said(unused).problems, [])
})

test('nobody asks for a service user where none is sent', () => {
  const single = `${wanted.replace('[service_user]', 'backup_swift_auth = single_user\nbackup_swift_user = a:b\nbackup_swift_key = k\nbackup_swift_auth_url = http://s\n[service_user]')}`

  assert.deepEqual(said(single).problems, [])
  assert.deepEqual(said(`${bus}[service_user]\nsend_service_user_token = true`).problems, [])
})

test('service tokens that are wanted but not switched on are a warning', () => {
  const { problems, warnings } = said(`${bus}backup_swift_service_auth = true`)

  assert.deepEqual(problems, [])
  assert.match(
    warnings[0] ?? '',
    /backup_swift_service_auth: sends nothing without \[service_user\] send_service_user_token = true$/,
  )
})

const single = `${bus}backup_swift_auth = single_user\nbackup_swift_auth_url = http://k\nbackup_swift_auth_version = 3\n`
const secret = '[cinder_backup_agent]\napplication_credential_secret = s\n'

test('an application credential needs no password, and no project', () => {
  for (const text of [
    `${single}${secret}application_credential_id = 1`,
    `${single}backup_swift_user = u\n${secret}application_credential_name = n`,
  ]) {
    assert.deepEqual(said(text), { problems: [], warnings: [] })
  }
  const { swift } = loadConfig(sources(`${single}${secret}application_credential_id = 1`)).config
  assert.deepEqual(swift.singleUser.applicationCredential, { id: '1', name: null, secret: 's' })
})

test('an application credential needs id or name and user, and version 3', () => {
  const nameless = said(`${single}${secret}application_credential_name = n`).problems
  const old = said(
    `${single.replace('version = 3', 'version = 1')}${secret}application_credential_id = 1`,
  ).problems

  assert.match(nameless.join(), /backup_swift_user: is needed with application_credential_name/)
  assert.match(old.join(), /backup_swift_auth_version: must be 3 for an application credential/)
})

const insecure: readonly [string, string, number][] = [
  ['Swift', `${bus}backup_swift_auth_insecure = true`, 1],
  ['the service user', `${wanted}${password}project_id = 1\ninsecure = true`, 1],
  ['Keystone', `${bus}[keystone_authtoken]\nauth_url = https://keystone\ninsecure = true`, 1],
  ['a section that is not used', `${bus}[service_user]\ninsecure = true`, 0],
  [
    'the posix driver',
    `${bus}backup_driver = cinder.backup.drivers.posix.PosixBackupDriver\nbackup_swift_auth_insecure = true`,
    0,
  ],
]

for (const [of, text, count] of insecure) {
  test(`insecure for ${of} gives ${count === 0 ? 'no warning' : 'a warning'}`, () => {
    const { problems, warnings } = said(text)

    assert.deepEqual(problems, [])
    assert.equal(warnings.length, count)
    for (const warning of warnings) assert.match(warning, /certificates are not verified/)
  })
}

test('the secret of an application credential is known to the log as one', () => {
  const text = `${wanted}${applied}application_credential_id = 1`
  const { config } = loadConfig(sources(text.replace('secret = s', 'secret = hush-hush')))

  assert.ok(config.log.secrets.includes('hush-hush'))
})
