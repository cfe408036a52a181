import assert from 'node:assert/strict'
import { randomBytes, randomInt } from 'node:crypto'
import { test } from 'node:test'
import { namedOptions } from '#src/config/schema.ts'
import { shownOptions } from '#src/config/show.ts'
import { inspectConfig, loadConfig } from '#src/config.ts'

const endings = ['', '@', '!', '#', ' x', '%20', "'"]

/** Ten characters that occur nowhere else, with whatever a password may end in. */
function newSecret(): string {
  return `zQ${randomBytes(4).toString('hex')}${endings[randomInt(endings.length)]}`
}

test('config show shows none of 1,000 secrets, in whatever option they are', () => {
  const sensitive = namedOptions.filter((option) => option.sensitive === true)
  for (let round = 0; round < 200; round += 1) {
    const secrets = sensitive.map(newSecret)
    const env = Object.fromEntries(
      sensitive.map(({ env: variable, option }, index) => {
        const secret = secrets[index] ?? ''
        const inUrl = `rabbit://user:${encodeURIComponent(secret)}@h1:5672,u:${encodeURIComponent(secret)}@h2/v`
        return [variable, option === 'transport_url' || option === 'connection' ? inUrl : secret]
      }),
    )

    const { settings, origins, problems } = inspectConfig({ files: ['/dev/null'], dirs: [], env })

    const shown = JSON.stringify([shownOptions(settings, origins), problems])
    for (const secret of secrets) {
      const kept = secret.slice(0, 10)
      assert.ok(!shown.includes(kept), `${kept} is shown`)
    }
    assert.ok(shown.includes('rabbit://user:***@h1:5672,u:***@h2/v'))
  }
})

test('a value with a line break is shown as one line', () => {
  const env = { CBA_DEFAULT_STATE_PATH: '/a\nb\u001b[31m' }

  const { settings, origins } = inspectConfig({ files: ['/dev/null'], dirs: [], env })

  const shown = shownOptions(settings, origins).find(({ option }) => option === 'state_path')
  assert.equal(shown?.value, '/a\\nb\\u001b[31m')
})

test('the values of secret options are handed to the log to be hidden', () => {
  const env = {
    CBA_DEFAULT_TRANSPORT_URL: 'rabbit://u:one@h/',
    CBA_DEFAULT_BACKUP_SWIFT_KEY: 'two',
    CBA_SERVICE_USER_PASSWORD: 'three',
  }

  const { config } = loadConfig({ files: ['/dev/null'], dirs: [], env })

  assert.deepEqual(config.log.secrets, ['one', 'two', 'three'])
})
