// The unit as systemd's own tools judge it.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'

import { namedOptions } from '#src/config/schema.ts'
import { checkout } from '../support/services.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'cba-unit-'))
after(() => rmSync(folder, { recursive: true }))

const name = 'cinder-backup-agent.service'
const text = readFileSync(path.join(checkout, 'systemd', name), 'utf8')
const exposureMax = 2

/** The unit as it is once it is installed, the agent of this checkout in it. */
function installed(change: (unit: string) => string = (unit) => unit): string {
  const file = path.join(mkdtempSync(path.join(folder, 'unit-')), name)
  const program = path.join(checkout, 'bin/cinder-backup-agent')
  const page = path.join(checkout, 'docs/configuration.md')
  const here = text
    .replace('ExecStart=/usr/bin/cinder-backup-agent', `ExecStart=${program}`)
    .replace(/^Documentation=.*$/m, `Documentation=file:${page}`)
  writeFileSync(file, change(here))
  return file
}

type Said = { readonly code: number; readonly said: string }

function analyze(...words: readonly string[]): Promise<Said> {
  return new Promise((resolve) => {
    execFile('systemd-analyze', words, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), said: `${stdout}${stderr}` })
    })
  })
}

/** What it says of our unit: of others on the machine it may say anything. */
async function verified(file: string): Promise<Said> {
  const { code, said } = await analyze('verify', '--man=no', '--recursive-errors=no', file)
  const ours = said.split('\n').filter((line) => line.includes('cinder-backup-agent'))
  return { code, said: ours.join('\n') }
}

test('systemd-analyze verify has nothing to say of the unit', async () => {
  assert.deepEqual(await verified(installed()), { code: 0, said: '' })
})

test('it would say so where a setting is misspelt', async () => {
  const { said } = await verified(installed((unit) => unit.replace('WatchdogSec', 'WatchdogSek')))
  assert.match(said, /WatchdogSek/)
})

/** The overall exposure that is shown at the end. */
async function exposureOf(file: string): Promise<number> {
  const { said } = await analyze('security', '--offline=yes', '--no-pager', file)
  return Number(/Overall exposure level for \S+: (\d+\.\d+)/.exec(said)?.[1])
}

test(`its exposure is at most ${exposureMax.toFixed(1)}, block devices and all`, async () => {
  const exposure = await exposureOf(installed())
  assert.ok(exposure <= exposureMax, `${exposure}`)
  assert.match(text, /^DeviceAllow=block-device-mapper rw$/m)
})

test('without its system call filter it would be more', async () => {
  const open = installed((unit) => unit.replaceAll(/^SystemCallFilter=.*$/gm, ''))
  assert.ok((await exposureOf(open)) > exposureMax)
})

const attachName = 'cinder-backup-agent-attach.service'
const attachText = readFileSync(path.join(checkout, 'systemd', attachName), 'utf8')

/** More than the agent: root, devices and the network are its work. */
const attachExposureMax = 3.5

function attachInstalled(change: (unit: string) => string = (unit) => unit): string {
  const file = path.join(mkdtempSync(path.join(folder, 'unit-')), attachName)
  writeFileSync(file, change(attachText))
  return file
}

test('systemd-analyze verify has nothing to say of the unit that attaches', async () => {
  assert.deepEqual(await verified(attachInstalled()), { code: 0, said: '' })
  const misspelt = attachInstalled((unit) => unit.replace('ProtectHome', 'ProtectHouse'))
  assert.match((await verified(misspelt)).said, /ProtectHouse/)
})

test(`its exposure is at most ${attachExposureMax}, root and all`, async () => {
  const exposure = await exposureOf(attachInstalled())
  assert.ok(exposure <= attachExposureMax, `${exposure}`)
  const open = attachInstalled((unit) => unit.replaceAll(/^CapabilityBoundingSet=.*$/gm, ''))
  assert.ok((await exposureOf(open)) > attachExposureMax)
})

test('the unit that attaches answers the user of the agent, where the agent asks', () => {
  assert.equal(/--user (\S+)/.exec(attachText)?.[1], /^User=(.+)$/m.exec(text)?.[1])
  const runtime = /--runtime %t\/(\S+)/.exec(attachText)?.[1]
  assert.equal(runtime, /^RuntimeDirectory=(.+)$/m.exec(attachText)?.[1])
  const socket = namedOptions.find(({ option }) => option === 'attach_socket')?.default
  assert.equal(socket, `/run/${runtime}/socket`)
})

test('the watchdog leaves no core with secrets in it', () => {
  for (const line of ['WatchdogSec=120', 'WatchdogSignal=SIGKILL', 'LimitCORE=0']) {
    assert.match(text, new RegExp(`^${line}$`, 'm'))
  }
})

test('the user of the unit is the one that sysusers.d makes, in the group of block devices', () => {
  const users = readFileSync(
    path.join(checkout, 'systemd/cinder-backup-agent.sysusers.conf'),
    'utf8',
  )
  assert.equal(/^User=(.+)$/m.exec(text)?.[1], /^u (\S+)/m.exec(users)?.[1])
  assert.match(users, /^m cinder-backup-agent disk$/m)
  assert.match(text, /^SupplementaryGroups=disk$/m)
})
