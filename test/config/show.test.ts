import assert from 'node:assert/strict'
import { randomBytes, randomInt } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'

import fc from 'fast-check'

import { namedOptions } from '#src/config/schema.ts'
import { shownOptions } from '#src/config/show.ts'
import { inspectConfig, loadConfig, problemText } from '#src/config.ts'
import { times } from '../support/soak.ts'

const endings = ['', '@', '!', '#', ' x', '%20', "'"]

/** Ten characters that occur nowhere else, with whatever a password may end in. */
function newSecret(): string {
  return `zQ${randomBytes(4).toString('hex')}${endings[randomInt(endings.length)]}`
}

test('config show shows none of 1,000 secrets, in whatever option they are', () => {
  const sensitive = namedOptions.filter((option) => option.sensitive !== undefined)
  for (let round = 0; round < 200; round += 1) {
    const secrets = sensitive.map(newSecret)
    const env = Object.fromEntries(
      sensitive.map(({ env: variable, option }, index) => {
        const secret = secrets[index] ?? ''
        const inUrl = `rabbit://user:${encodeURIComponent(secret)}@h1:5672,u:${encodeURIComponent(secret)}@h2/v`
        return [variable, option === 'transport_url' || option === 'connection' ? inUrl : secret]
      }),
    )

    const { settings, origins, referredSecrets, problems } = inspectConfig({
      paths: [{ kind: 'file', path: '/dev/null' }],
      env,
    })

    const shown = JSON.stringify([shownOptions(settings, origins, referredSecrets), problems])
    for (const secret of secrets) {
      const kept = secret.slice(0, 10)
      assert.ok(!shown.includes(kept), `${kept} is shown`)
    }
    assert.ok(shown.includes('rabbit://user:***@h1:5672,u:***@h2/v'))
  }
})

for (const url of ['http:/u:hidden@h/', 'rabbit//u:hidden@h:5672/', 'http:u:hidden@h/']) {
  test(`the password of what was meant to be a URL is not shown: ${url}`, () => {
    const env = { CBA_DEFAULT_BACKUP_SWIFT_URL: url, CBA_DEFAULT_BACKUP_SWIFT_AUTH_URL: `x ${url}` }

    const { settings, origins, referredSecrets, problems } = inspectConfig({
      paths: [{ kind: 'file', path: '/dev/null' }],
      env,
    })

    assert.doesNotMatch(
      JSON.stringify([shownOptions(settings, origins, referredSecrets), problems]),
      /hidden/,
    )
  })
}

const inBraces = (name: string) => `$\{${name}}`

// What a password may have that a reader of URLs takes for an end of it.
const hard = ['/', '?', '#', ',', '@', ':', '%', ' ', '/a?b', '@,', ':1/', '?x=', '://']

const password = fc
  .tuple(
    fc.integer({ min: 2 ** 28, max: 2 ** 31 }),
    fc.array(fc.constantFrom(...hard), { maxLength: 3 }),
  )
  .map(([number, odd]) => ({ core: `zQ${number.toString(16)}`, parts: odd }))
  .map(({ core, parts }) => ({ core, text: [parts[0], core, ...parts.slice(1)].join('') }))

/** Lines that hold a secret or refer to one; some of them are refused, which shows no secret either. */
function lineWith(text: string): fc.Arbitrary<readonly [section: string, line: string]> {
  const url = `rabbit://user:${text}@h1:5672,u:${text}@h2/v`
  const reference = fc.constantFrom(
    ...[
      '$backup_swift_key',
      inBraces('service_user.password'),
      inBraces('database.connection'),
      '$transport_url',
    ],
    ...[
      inBraces('barbican.secret_of_others'),
      '$backup_container',
      'x-$backup_swift_key-y',
      '$service_key',
    ],
  )
  const referring = fc.constantFrom(...namedOptions.filter(({ option }) => option !== 'password'))
  return fc.oneof(
    { weight: 1, arbitrary: fc.constant(['DEFAULT', `backup_swift_key = ${text}`] as const) },
    { weight: 1, arbitrary: fc.constant(['DEFAULT', `service_key = ${text}`] as const) },
    { weight: 1, arbitrary: fc.constant(['service_user', `password = ${text}`] as const) },
    { weight: 1, arbitrary: fc.constant(['barbican', `secret_of_others = ${text}`] as const) },
    { weight: 1, arbitrary: fc.constant(['DEFAULT', `transport_url = ${url}`] as const) },
    {
      weight: 1,
      arbitrary: fc.constant(['database', `connection = mysql://u:${text}@h/c`] as const),
    },
    {
      weight: 1,
      arbitrary: fc.constant(['DEFAULT', `backup_swift_url = https://u:${text}@h/v1`] as const),
    },
    {
      weight: 1,
      arbitrary: fc.constant([
        'service_user',
        `auth_url = https://h/?password=${text.replaceAll('&', '')}`,
      ] as const),
    },
    {
      weight: 1,
      arbitrary: fc.constant(['DEFAULT', 'backup_container = a-$backup_swift_key'] as const),
    },
    {
      weight: 6,
      arbitrary: fc
        .tuple(referring, reference)
        .map(([{ section, option }, value]) => [section, `${option} = ${value}`] as const),
    },
  )
}

test('no secret of generated configurations is shown or complained of', () => {
  const configuration = password.chain(({ core, text }) =>
    fc.array(lineWith(text), { minLength: 1, maxLength: 9 }).map((lines) => ({ core, lines })),
  )
  const folder = mkdtempSync(path.join(tmpdir(), 'cba-show-'))
  const file = path.join(folder, 'agent.conf')
  try {
    fc.assert(
      fc.property(configuration, ({ core, lines }) => {
        writeFileSync(file, lines.map(([section, line]) => `[${section}]\n${line}\n`).join(''))

        const { settings, origins, referredSecrets, problems, warnings } = inspectConfig({
          paths: [{ kind: 'file', path: file }],
          env: {},
        })

        const shown = shownOptions(settings, origins, referredSecrets)
        const all = [
          ...shown.map(({ value }) => value),
          ...[...problems, ...warnings].map(problemText),
        ]
        for (const each of all) assert.ok(!each.includes(core), `${core} is shown: ${each}`)
      }),
      { numRuns: times(300, 3000) },
    )
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('what is only near a secret is shown', () => {
  const env = {
    CBA_DEFAULT_TRANSPORT_URL: 'rabbit://u:one@h1:5672,u2:two@h2/v',
    CBA_DEFAULT_BACKUP_SWIFT_URL: 'https://h:8080/v1/AUTH_',
    CBA_DEFAULT_BACKUP_CONTAINER: 'c-$host',
    CBA_DEFAULT_HOST: 'node-7',
  }

  const { settings, origins, referredSecrets } = inspectConfig({ paths: [], env })

  const shown = shownOptions(settings, origins, referredSecrets)
  const textOf = (name: string) =>
    shown.find(({ section, option }) => `${section}.${option}` === name)?.value
  assert.equal(textOf('DEFAULT.transport_url'), 'rabbit://u:***@h1:5672,u2:***@h2/v')
  assert.equal(textOf('DEFAULT.backup_swift_url'), 'https://h:8080/v1/AUTH_')
  assert.equal(textOf('DEFAULT.backup_container'), 'c-node-7')
})

test('a value with a line break is shown as one line', () => {
  const env = { CBA_DEFAULT_STATE_PATH: '/a\nb\u001b[31m' }

  const { settings, origins, referredSecrets } = inspectConfig({
    paths: [{ kind: 'file', path: '/dev/null' }],
    env,
  })

  const shown = shownOptions(settings, origins, referredSecrets).find(
    ({ option }) => option === 'state_path',
  )
  assert.equal(shown?.value, '/a\\nb\\u001b[31m')
})

test('the values of secret options are handed to the log to be hidden', () => {
  const env = {
    CBA_DEFAULT_TRANSPORT_URL: 'rabbit://u:one@h/',
    CBA_DEFAULT_BACKUP_SWIFT_KEY: 'two',
    CBA_SERVICE_USER_PASSWORD: 'three',
    CBA_DEFAULT_BACKUP_CONTAINER: 'of-$backup_swift_key',
  }

  const { config } = loadConfig({ paths: [{ kind: 'file', path: '/dev/null' }], env })

  assert.deepEqual(config.log.secrets, ['one', 'two', 'of-two', 'three'])
})
