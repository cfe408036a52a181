// docs/migration.md under a real Cinder, command by command: beside the stock service, in its place, and back.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

import { type AgentProcess, agentCommand } from '../support/agent.ts'
import { ourHome, spawnOurs, stopBackupService, takePlace } from '../support/backup-service.ts'
import { cinderRows } from '../support/cinder-rows.ts'
import { CinderUser, sumOf, writeVolume } from '../support/real-cinder.ts'
import { checkout, serviceScript, services } from '../support/services.ts'
import { noise } from '../support/volume-data.ts'

const run = promisify(execFile)
const mebibyte = 2 ** 20

/** The commands of the page in its order; its other indented lines are a configuration. */
const commands = readFileSync(path.join(checkout, 'docs/migration.md'), 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('    '))
  .map((line) => line.trim())
  .filter((line) => !/^\[|^\w+ = /.test(line))

/** Changes a volume, and tells what it holds then. */
async function changed(volume: string): Promise<string> {
  await writeVolume(volume, noise(randomUUID(), 3 * mebibyte), 45 * mebibyte - 100)
  return sumOf(volume)
}

/** Host and state of the backup services that Cinder's API knows. */
async function upHosts(admin: CinderUser): Promise<readonly string[]> {
  const { services: rows } = await admin.call('GET', '/os-services?binary=cinder-backup')
  const known = rows as readonly { readonly host: string; readonly state: string }[]
  return known.filter(({ state }) => state === 'up').map(({ host }) => host)
}

test('the page is followed from the stock service to ours and back', async (t) => {
  const [demo, admin] = [await CinderUser.login('demo'), await CinderUser.login('admin')]
  t.after(stopBackupService)
  await takePlace(t, 'stock')
  const [host = ''] = await upHosts(admin)
  const volume = await demo.createVolume()
  const first = await changed(volume)
  const full = await demo.createBackup(volume)
  const besideHost = `${host}-agent-${randomUUID().slice(0, 8)}`
  let beside: AgentProcess
  let increment = ''
  let second = ''

  /** What is done here for each command; systemd is not there to do it. */
  const steps: Readonly<Record<string, () => Promise<void>>> = {
    'cinder-backup-agent config check': async () => {
      const home = await ourHome(`[DEFAULT]\nhost = ${besideHost}\n`)
      t.after(home.remove)
      const files = [...home.earlierConfigFiles, home.configFile]
      const words = files.flatMap((file) => ['--config-file', file])
      const { stdout } = await run(agentCommand, ['config', 'check', ...words])
      assert.match(stdout, /^0 problems/m)
    },
    'systemctl start cinder-backup-agent': async () => {
      beside = await spawnOurs(t, `[DEFAULT]\nhost = ${besideHost}\n`)
      await beside.logged(/\bserving\b/)
      assert.deepEqual((await upHosts(admin)).toSorted(), [host, besideHost].toSorted())
    },
    'openstack volume service set --disable storage-1-agent cinder-backup': async () => {
      const body = { host: besideHost, binary: 'cinder-backup' }
      await admin.call('PUT', '/os-services/disable', body)
      // Both are up. For each request the API draws one: of so many, one at least would be for ours.
      for (const _ of Array.from({ length: 10 })) {
        await admin.exportRecord(full)
        const [row] = await cinderRows('backups', `id = '${full}'`)
        assert.equal(row?.['host'], host)
      }
    },
    'systemctl stop cinder-backup-agent': async () => {
      assert.equal(await beside.end('SIGTERM'), 0)
    },
    'cinder-manage service remove cinder-backup storage-1-agent': async () => {
      const configFile = services().cinder.configFiles[0]
      const words = ['--config-file', configFile, 'service', 'remove', 'cinder-backup', besideHost]
      await run('/usr/bin/cinder-manage', words)
      assert.deepEqual(await upHosts(admin), [host])
    },
    'systemctl disable --now cinder-backup': async () => {
      const early = await spawnOurs(t)
      await early.logged(/another consumer takes the requests of this host/)
      await early.end('SIGTERM')
      assert.doesNotMatch(early.log(), /\bserving\b/)
      await stopBackupService()
    },
    'rabbitmqctl list_queues name messages consumers': async () => {
      const words = ['list_queues', 'name', 'messages', 'consumers']
      const listed = await serviceScript()('rabbitmqctl', '--quiet', ...words)
      const line = listed.split('\n').find((one) => one.startsWith(`cinder-backup.${host}\t`))
      assert.equal(line, `cinder-backup.${host}\t0\t0`)
    },
    'systemctl enable --now cinder-backup-agent': async () => {
      await takePlace(t, 'ours')
      await demo.restore(full, volume)
      assert.equal(await sumOf(volume), first)
      second = await changed(volume)
      increment = await demo.createBackup(volume, { incremental: true })
    },
    'systemctl disable --now cinder-backup-agent': stopBackupService,
    'systemctl enable --now cinder-backup': async () => {
      await takePlace(t, 'stock')
      await demo.restore(full, volume)
      assert.equal(await sumOf(volume), first)
      await demo.restore(increment, volume)
      assert.equal(await sumOf(volume), second)
    },
  }

  assert.deepEqual(commands, Object.keys(steps))
  for (const command of commands) {
    await t.test(command, async () => steps[command]?.())
  }
  for (const backup of [increment, full]) await demo.delete('backup', backup)
  await demo.removeAll()
})
