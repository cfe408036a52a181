import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import {
  appendFileSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { after, test } from 'node:test'

const destdir = mkdtempSync(path.join(tmpdir(), 'cba-install-'))
after(() => rmSync(destdir, { recursive: true }))

type Ended = { readonly code: number; readonly stdout: string; readonly stderr: string }

function run(program: string, words: readonly string[], env = {}, cwd = '/'): Promise<Ended> {
  return new Promise((resolve) => {
    const options = { env: { PATH: '/usr/bin:/bin', ...env }, cwd }
    execFile(program, words, options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr })
    })
  })
}

const checkout = path.resolve(import.meta.dirname, '../..')
const install = path.join(checkout, 'scripts/install')

test('what is installed runs on its own, wherever it is called from', async () => {
  const installed = await run(install, [], { DESTDIR: destdir })
  assert.deepEqual([installed.code, installed.stderr], [0, ''])
  const link = path.join(destdir, 'elsewhere')
  symlinkSync(path.join(destdir, 'usr/bin/cinder-backup-agent'), link)

  const { code, stdout } = await run(link, ['config', 'sample'])

  assert.equal(code, 0)
  assert.equal(stdout, readFileSync(path.join(checkout, 'config/agent.conf.sample'), 'utf8'))
})

const acceleratorFile = `native/build/accelerator-linux-${process.arch}.node`

/** What the installed Node says of the accelerator that the installed agent loads. */
async function acceleratorOf(root: string): Promise<string> {
  const library = path.join(root, 'usr/lib/cinder-backup-agent')
  const loader = path.join(library, 'src/adapters/accelerator/native-accelerator.ts')
  const code = `import('${loader}').then(({ loadAccelerator }) => console.log(loadAccelerator().why))`
  return (await run(path.join(library, 'bin/node'), ['-e', code])).stdout
}

test('the accelerator is installed where it was built, and found there', async () => {
  await run(install, [], { DESTDIR: destdir })

  assert.match(await acceleratorOf(destdir), /libdeflate.*two lanes/)

  rmSync(path.join(destdir, 'usr/lib/cinder-backup-agent', acceleratorFile))
  assert.match(await acceleratorOf(destdir), /was built$/m)
})

async function unpacked(): Promise<string> {
  const root = mkdtempSync(path.join(destdir, 'packed-'))
  const { stdout } = await run(path.join(checkout, 'scripts/dist'), [root])
  await run('tar', ['-xzf', stdout.trim()], {}, root)
  return path.join(root, path.basename(stdout.trim(), '.tar.gz'))
}

test('what is packed is all that an installation needs', async () => {
  const root = mkdtempSync(path.join(destdir, 'packed-'))
  const packed = await run(path.join(checkout, 'scripts/dist'), [root])
  assert.deepEqual([packed.code, packed.stderr], [0, ''])
  const file = packed.stdout.trim()
  assert.match(path.basename(file), /^cinder-backup-agent-\d+\.\d+\.\d+-linux-\w+\.tar\.gz$/)
  await run('tar', ['-xzf', file], {}, root)
  const unpacked = path.join(root, path.basename(file, '.tar.gz'))

  const installed = await run(path.join(unpacked, 'scripts/install'), [], { DESTDIR: root })

  assert.deepEqual([installed.code, installed.stderr], [0, ''])
  const { stdout } = await run(path.join(root, 'usr/bin/cinder-backup-agent'), ['config', 'sample'])
  assert.equal(stdout, readFileSync(path.join(checkout, 'config/agent.conf.sample'), 'utf8'))
  assert.match(await acceleratorOf(root), /libdeflate.*two lanes/)
  const sums = await run('sha256sum', ['--check', `${file}.sha256`], {}, root)
  assert.equal(sums.code, 0, sums.stderr)
})

test('a host without a compiler is told so, and what can go without it goes on', async () => {
  const root = mkdtempSync(path.join(destdir, 'no-compiler-'))
  await run('cp', ['-r', path.join(checkout, 'scripts'), root])
  const build = (...words: string[]) =>
    run(path.join(root, 'scripts/native'), words, { CC: 'no-such-compiler' })

  const demanded = await build()
  const wanted = await build('--if-possible')

  assert.equal(demanded.code, 1)
  assert.match(demanded.stderr, /^native: no C compiler \(no-such-compiler\) here; install .*\n$/)
  assert.equal(wanted.code, 0)
  assert.match(wanted.stderr, /^native: no C compiler .* goes without its accelerator\n$/)
})

test('installing again keeps the configuration of the site and no file of before', async () => {
  const settings = path.join(destdir, 'etc/cinder-backup-agent/agent.conf')
  const stale = path.join(destdir, 'usr/lib/cinder-backup-agent/src/stale.ts')
  await run(install, [], { DESTDIR: destdir })
  appendFileSync(settings, '# ours\n')
  writeFileSync(stale, '')

  const { code } = await run(install, [], { DESTDIR: destdir })

  assert.equal(code, 0)
  assert.match(readFileSync(settings, 'utf8'), /# ours\n$/)
  assert.throws(() => statSync(stale), { code: 'ENOENT' })
  assert.equal(statSync(settings).mode & 0o777, 0o640)
})

test('the unit starts what is installed, under its prefix', async () => {
  const root = mkdtempSync(path.join(destdir, 'other-'))

  const { code } = await run(install, [], { DESTDIR: root, PREFIX: '/opt/agent' })

  const unit = path.join(root, 'opt/agent/lib/systemd/system/cinder-backup-agent.service')
  assert.equal(code, 0)
  assert.match(
    readFileSync(unit, 'utf8'),
    /^ExecStart=\/opt\/agent\/bin\/cinder-backup-agent serve$/m,
  )
  const { stdout } = await run(path.join(root, 'opt/agent/bin/cinder-backup-agent'), ['--version'])
  assert.match(stdout, /^\d+\.\d+\.\d+\n$/)
})

test('so does the unit that attaches, with what was packed too', async () => {
  for (const installer of [install, path.join(await unpacked(), 'scripts/install')]) {
    const root = mkdtempSync(path.join(destdir, 'other-'))
    await run(installer, [], { DESTDIR: root, PREFIX: '/opt/agent' })

    const unit = path.join(root, 'opt/agent/lib/systemd/system/cinder-backup-agent-attach.service')
    const command = /^ExecStart=(.*?) --user/m.exec(readFileSync(unit, 'utf8'))?.[1] ?? ''
    assert.equal(command, '/usr/bin/python3 -I -B /opt/agent/lib/cinder-backup-agent/attach')
    const [python = '', ...words] = command.replace('/opt', `${root}/opt`).split(' ')
    const { stdout } = await run(python, [...words, '--help'])
    assert.match(stdout, /^usage: cinder-backup-agent-attach /)
  }
})

test('the unit exposes at most 2.0 by the measure of systemd', async () => {
  const unit = path.join(checkout, 'systemd/cinder-backup-agent.service')

  const { stdout } = await run('systemd-analyze', ['security', '--offline=yes', unit])

  const [, exposure] = /Overall exposure level for \S+: ([\d.]+)/.exec(stdout) ?? []
  assert.ok(Number(exposure) <= 2, stdout)
})

test('without a Node that is new enough the command says what to do', async () => {
  const root = mkdtempSync(path.join(destdir, 'bare-'))
  await run('cp', ['-r', path.join(checkout, 'bin'), root])
  writeFileSync(path.join(root, 'bin/uname'), '#!/bin/sh\necho riscv64\n', { mode: 0o755 })
  writeFileSync(path.join(root, 'bin/dirname'), '#!/bin/sh\nexec /usr/bin/dirname "$@"\n', {
    mode: 0o755,
  })

  const program = path.join(root, 'bin/cinder-backup-agent')
  const { code, stderr } = await run(program, [], { PATH: path.join(root, 'bin') })

  assert.equal(code, 1)
  assert.match(stderr, /needs Node 24 or newer: run "npm ci" in .*, or set CBA_NODE/)
})
