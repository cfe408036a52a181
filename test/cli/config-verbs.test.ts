import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { after, test } from 'node:test'

const folder = mkdtempSync(path.join(tmpdir(), 'cba-cli-'))
after(() => rmSync(folder, { recursive: true }))

const program = path.resolve(import.meta.dirname, '../../bin/cinder-backup-agent')

type Ended = { readonly code: number; readonly stdout: string; readonly stderr: string }

function run(words: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(program, words, { env }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr })
    })
  })
}

function configFile(text: string): string {
  const file = path.join(mkdtempSync(path.join(folder, 'etc-')), 'agent.conf')
  writeFileSync(file, text)
  return file
}

const good = configFile(
  '[DEFAULT]\ntransport_url = rabbit://u:hidden@h/\nbackup_swift_key = veiled\n',
)

test('config check is silent about a good configuration and ends with 0', async () => {
  const { code, stdout } = await run(['config', 'check', '--config-file', good])

  assert.equal(stdout, '0 problems, 0 warnings\n')
  assert.equal(code, 0)
})

test('config check lists what is wrong by file and line and ends with 17', async () => {
  const file = configFile(
    '[DEFAULT]\ndebug = maybe\nbackup_swift_ulr = http://x\ntransport_url =\n',
  )

  const { code, stdout } = await run(['config', 'check', '--config-file', file])

  assert.deepEqual(stdout.replaceAll(file, 'agent.conf').split('\n'), [
    'agent.conf:2: [DEFAULT] debug: must be true or false: value was "maybe"',
    'agent.conf:4: [DEFAULT] transport_url: is empty; write transport_url = rabbit://user:password@host:5672/',
    'agent.conf:3: warning: [DEFAULT] backup_swift_ulr: is not known; backup_swift_url is',
    '2 problems, 1 warning',
    '',
  ])
  assert.equal(code, 17)
})

test('config check --live prints a line for each check, and its exit code is that of the first failure', async () => {
  const file = configFile(`[DEFAULT]
transport_url = rabbit://u:hidden@127.0.0.1:1/
backup_swift_url = http://127.0.0.1:1/v1/AUTH_
[cinder_backup_agent]
state_dir = ${folder}
volume_paths = ${folder}/volume-{volume_id}
snapshot_paths = ${folder}/snapshot-{snapshot_id}
`)

  const { code, stdout } = await run(['config', 'check', '--live', '--config-file', file])
  const { code: codeOfOrder, stdout: json } = await run([
    ...['config', 'check', '--live', '--json', '--config-file', file],
  ])

  const lines = stdout.split('\n').map((line) => line.replace(/: (ok|failed, \w+).*/, ': $1'))
  assert.deepEqual(lines, [
    `state_dir ${folder}: ok`,
    'rabbitmq 127.0.0.1:1: failed, BROKER_UNAVAILABLE',
    'swift http://127.0.0.1:1/v1/AUTH_: failed, STORE_UNAVAILABLE',
    `devices ${folder}: ok`,
    '0 problems, 0 warnings',
    '',
  ])
  assert.ok(!stdout.includes('hidden'))
  assert.deepEqual([code, codeOfOrder], [1, 1])
  assert.deepEqual(
    JSON.parse(json).live.map(({ code: found }: { code: string | null }) => found),
    [null, 'BROKER_UNAVAILABLE', 'STORE_UNAVAILABLE', null],
  )
})

test('config check --live tries nothing where the configuration has a mistake', async () => {
  const file = configFile('[DEFAULT]\ndebug = maybe\ntransport_url = rabbit://u:p@127.0.0.1:1/\n')

  const { code, stdout } = await run(['config', 'check', '--live', '--config-file', file])

  assert.equal(code, 17)
  assert.doesNotMatch(stdout, /rabbitmq/)
})

test('config check ends with 3 where there are warnings only', async () => {
  const file = configFile('[DEFAULT]\nbackup_swift_ulr = http://x\n')

  const { code } = await run(['config', 'check', '--config-file', good, '--config-file', file])

  assert.equal(code, 3)
})

test('config check prints JSON on request', async () => {
  const file = configFile('[DEFAULT]\ntransport_url =\n')

  const { stdout, code } = await run(['config', 'check', '--json', '--config-file', file])

  assert.equal(code, 17)
  assert.deepEqual(JSON.parse(stdout).problems, [
    {
      where: `${file}:2`,
      option: '[DEFAULT] transport_url',
      what: 'is empty; write transport_url = rabbit://user:password@host:5672/',
    },
  ])
})

test('config show tells value and origin of each option, and no secret', async () => {
  const env = { CBA_DEFAULT_HOST: 'node-7' }

  const { code, stdout, stderr } = await run(['config', 'show', '--config-file', good], env)

  assert.equal(code, 0)
  assert.equal(stderr, '')
  assert.ok(stdout.includes(`transport_url = rabbit://u:***@h/  (${good}:2)\n`), stdout)
  assert.ok(stdout.includes(`backup_swift_key = ***  (${good}:3)\n`))
  assert.ok(stdout.includes('host = node-7  (CBA_DEFAULT_HOST)\n'))
  assert.ok(stdout.includes('control_exchange = openstack  (default)\n'))
  assert.doesNotMatch(stdout, /hidden|veiled/)
})

test('config show --json has the same', async () => {
  const { stdout } = await run(['config', 'show', '--json', '--config-file', good])

  const shown: { section: string; option: string; value: string; origin: string }[] =
    JSON.parse(stdout)
  assert.deepEqual(
    shown.find(({ option }) => option === 'backup_swift_key'),
    { section: 'DEFAULT', option: 'backup_swift_key', value: '***', origin: `${good}:3` },
  )
})

test('config sample prints a file that config check accepts', async () => {
  const { stdout } = await run(['config', 'sample'])
  const file = configFile(stdout)

  const { code } = await run(['config', 'check', '--config-file', good, '--config-file', file])

  assert.equal(code, 0)
})

test('serve with a bad configuration ends with 17 and says each mistake', async () => {
  const file = configFile('[DEFAULT]\ndebug = maybe\ntransport_url =\n')

  const { code, stderr } = await run(['serve', '--config-file', file])

  assert.equal(code, 17)
  assert.match(stderr, /^cinder-backup-agent: CONFIGURATION_INVALID: .*agent.conf:2: \[DEFAULT\]/m)
  assert.match(stderr, /^cinder-backup-agent: CONFIGURATION_INVALID: .*:3: \[DEFAULT\] transp/m)
})

const usage: readonly (readonly string[])[] = [
  [],
  ['no-such-verb'],
  ['serve', '--no-such-option'],
  ['serve', 'word'],
  ['send'],
  ['send', 'delete_backup'],
  ['send', 'create_backup', '--volume-id', 'x', '--record', 'y', '--size', '0'],
  ['config'],
]
for (const words of usage) {
  test(`"${words.join(' ')}" ends with 2 and says why`, async () => {
    const { code, stderr } = await run(words)

    assert.equal(code, 2)
    assert.notEqual(stderr, '')
  })
}

const verbs: readonly (readonly string[])[] = [
  ['serve'],
  ['send'],
  ['send', 'create_backup'],
  ['send', 'restore_backup'],
  ['send', 'delete_backup'],
  ['config', 'check'],
  ['config', 'show'],
  ['config', 'sample'],
]
for (const words of verbs) {
  test(`${words.join(' ')} --help has an example`, async () => {
    const { code, stdout } = await run([...words, '--help'])

    assert.equal(code, 0)
    assert.match(stdout, new RegExp(`Example:\n {2}cinder-backup-agent ${words.join(' ')}`))
  })
}

test('options of send count in front of the method and after it', async () => {
  const words = ['--args', 'nonsense', '--config-file', good]

  const ends = await Promise.all([run(['send', 'ping', ...words]), run(['send', ...words, 'ping'])])

  for (const { code, stderr } of ends) {
    assert.match(stderr, /ARGUMENT_INVALID: --args is not JSON/)
    assert.equal(code, 2)
  }
})

test('--version is that of the package', async () => {
  const { version } = (await import('../../package.json', { with: { type: 'json' } })).default

  const { stdout } = await run(['--version'], { PATH: process.env['PATH'] ?? '' })

  assert.equal(stdout, `${version}\n`)
})
