// Every command of the documents: run here as it stands there, or named with the reason why not.

import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { test } from 'node:test'

import { agentCommand, agentHome } from '../support/agent.ts'
import { eventually } from '../support/rabbit.ts'
import { rabbitVhost } from '../support/rabbit-vhost.ts'
import { checkout } from '../support/services.ts'
import { noise } from '../support/volume-data.ts'

const pages = ['README.md', 'CONTRIBUTING.md', 'docs/operations.md']
const aCommand =
  /^(?: {4}|)((?:make|cinder-backup-agent|systemctl|journalctl|scripts\/\S+|git|vi|rabbitmqctl) .*)$/

/** The commands of a page in its order: in fenced blocks, or indented; without what is said of them. */
function commandsOf(page: string): readonly string[] {
  let isFenced = false
  return readFileSync(path.join(checkout, page), 'utf8')
    .split('\n')
    .flatMap((line) => {
      if (line.startsWith('```')) isFenced = !isFenced
      if (!isFenced && !line.startsWith('    ')) return []
      const command = aCommand.exec(line)?.[1]
      return command === undefined ? [] : [command.replace(/ +#.*$/, '').replaceAll(/ {2,}/g, ' ')]
    })
}

const commands = [...new Set(pages.flatMap(commandsOf))]

const needsManager =
  'needs systemd as the first process; the unit is judged by test/scripts/unit.test.ts'
const whole = 'runs all tests, this one too'
/** What is not run here, and why. */
const notRun: Readonly<Record<string, string>> = {
  'make demo': 'minutes of its own; what it shows main-job.test.ts shows',
  'make demo STORE=swift': 'minutes of its own; what it shows swift-identity.test.ts shows',
  'make test': whole,
  'make install': 'would change this machine; test/scripts/install.test.ts does it with DESTDIR',
  'systemctl enable --now cinder-backup-agent': needsManager,
  'systemctl enable --now cinder-backup-agent-attach': needsManager,
  'systemctl start cinder-backup-agent': needsManager,
  'systemctl reload cinder-backup-agent': needsManager,
  'journalctl -u cinder-backup-agent -f': needsManager,
  'journalctl -u cinder-backup-agent | grep <backup id>': needsManager,
  'vi /etc/cinder-backup-agent/agent.conf': 'a person does it',
  'git clone … && cd cinder-backup-agent': 'this is what came of it',
  'make services': 'it was run before this test, or there would be no services',
  'scripts/node --test test/adapters/object-store/swift-store.test.ts': whole,
}

const isOurs = (command: string) => command.startsWith('cinder-backup-agent ')

test('every command of the documents is run here, or there is a reason', () => {
  const unknown = commands.filter((command) => !isOurs(command) && notRun[command] === undefined)
  assert.deepEqual(unknown, [])
  const stale = Object.keys(notRun).filter((command) => !commands.includes(command))
  assert.deepEqual(stale, [])
})

/** The one of `commands` that begins so; it must be the only one. */
function documented(words: string): string {
  const [command = '', ...others] = commands.filter((one) => one.startsWith(words))
  assert.deepEqual([others, command === ''], [[], false], words)
  return command
}

test('the commands of the agent do what the documents say, in their order', async (t) => {
  const vhost = await rabbitVhost(t)
  const home = await agentHome(t, vhost.transportUrl)
  const bin = path.join(home.folder, 'bin')
  mkdirSync(bin)
  symlinkSync(agentCommand, path.join(bin, 'cinder-backup-agent'))
  const env = {
    ...process.env,
    PATH: `${bin}:${process.env['PATH']}`,
    OS_PROJECT_ID: 'f'.repeat(32),
  }
  const ran: string[] = []
  /** As it stands there, with the configuration of this test in the place of the host's. */
  const asWritten = (command: string) => {
    ran.push(command)
    const placed = command.replace('/etc/cinder/cinder.conf', home.configFile)
    return placed.includes('--config-file') ? placed : `${placed} --config-file ${home.configFile}`
  }
  const run = (command: string) =>
    new Promise<string>((resolve) => {
      const options = { env, cwd: home.folder, timeout: 60_000 }
      execFile('/bin/sh', ['-c', asWritten(command)], options, (error, stdout, stderr) =>
        resolve(`${error === null ? 0 : error.code} ${stdout}${stderr}`),
      )
    })

  for (const check of commands.filter((one) => /^cinder-backup-agent config check/.test(one))) {
    assert.match(await run(check), /^0 0 problems, 0 warnings/)
  }
  const serve = documented('cinder-backup-agent serve')
  const agent = spawn('/bin/sh', ['-c', `exec ${asWritten(serve)}`], { env, cwd: home.folder })
  t.after(() => agent.kill('SIGKILL'))
  let log = ''
  agent.stderr.on('data', (piece) => {
    log += piece
  })
  await eventually(() => log.includes('serving'), 'the agent serves')

  const sends = commands.filter((one) => one.startsWith('cinder-backup-agent send'))
  const volumes = new Set(sends.flatMap((one) => /--volume-id (\S+)/.exec(one)?.[1] ?? []))
  for (const id of volumes) {
    writeFileSync(path.join(home.volumes, `volume-${id}`), noise(id, 100_000))
  }
  const [from = '', to = ''] = volumes
  const content = (id: string) => readFileSync(path.join(home.volumes, `volume-${id}`))
  assert.notDeepEqual(content(from), content(to))
  for (const send of sends) {
    assert.match(await run(send), /^0 /, send)
    if (send.includes('restore')) assert.deepEqual(content(from), content(to))
  }
  assert.deepEqual(ran.toSorted(), commands.filter(isOurs).toSorted())
  agent.kill('SIGTERM')
  await once(agent, 'exit')
})

test('the configuration of README.md is a good one', async (t) => {
  const vhost = await rabbitVhost(t)
  const home = await agentHome(t, vhost.transportUrl)
  const readme = readFileSync(path.join(checkout, 'README.md'), 'utf8')
  const block =
    /^ {4}# \/etc\/cinder-backup-agent\/agent\.conf\n(?: {4}.*\n)+/m.exec(readme)?.[0] ?? ''
  const file = path.join(home.folder, 'readme.conf')
  writeFileSync(file, block.replaceAll(/^ {4}/gm, ''))
  const said = await new Promise<string>((resolve) => {
    execFile(agentCommand, ['config', 'check', '--config-file', file], (_error, stdout, stderr) =>
      resolve(stdout + stderr),
    )
  })
  assert.match(block, /transport_url/)
  assert.equal(said, '0 problems, 0 warnings\n')
})
