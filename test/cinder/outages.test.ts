// What our agent does while Cinder's database or its bus is away: everything ends as it would have.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { stat } from 'node:fs/promises'
import path from 'node:path'
import { after, before, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import type { AgentProcess } from '../support/agent.ts'
import { spawnOurs, stopBackupService } from '../support/backup-service.ts'
import { CinderRefusal, CinderUser, sumOf, writeVolume } from '../support/real-cinder.ts'
import { serviceScript, services } from '../support/services.ts'
import { times } from '../support/soak.ts'
import { noise } from '../support/volume-data.ts'

const mebibyte = 2 ** 20
const runScript = serviceScript()
const awaySeconds = times(10, 60)

const outages: Readonly<Record<string, () => Promise<void>>> = {
  [`the database is away for ${awaySeconds} s`]: async () => {
    const { database } = services().cinder
    await runScript('down', database)
    await sleep(awaySeconds * 1000)
    await runScript('up', database)
  },
  'RabbitMQ is restarted': async () => {
    await runScript('restart', 'rabbitmq')
  },
}

let agent: AgentProcess
const last: (() => unknown)[] = []
before(async () => {
  await stopBackupService()
  agent = await spawnOurs({ after: (end) => void last.push(end) })
  await agent.logged(/\bserving\b/)
})
after(async () => {
  await agent.end('SIGTERM')
  for (const end of last.toReversed()) await end()
})

for (const [name, outage] of Object.entries(outages)) {
  test(`a create ends well though ${name} in its middle`, async (t) => {
    const demo = await memberOf(t)
    const [volume, sum] = await writtenVolume(demo)
    const backup = await demo.beginBackup(volume)
    await until(async () => (await demo.objectsOf(backup)).length > 0)
    await outage()

    await ends(demo, 'backup', backup, 'available')
    await ends(demo, 'volume', volume, 'available')
    assert.equal(await sumOf(await restored(demo, backup)), sum)
  })

  test(`a restore ends well though ${name} in its middle`, async (t) => {
    const demo = await memberOf(t)
    const [volume, sum] = await writtenVolume(demo)
    const backup = await demo.createBackup(volume)
    const target = await demo.createVolume()
    await asked(demo, backup, target)
    await until(async () => (await bytesIn(target)) > 0)
    await outage()

    await ends(demo, 'backup', backup, 'available')
    await ends(demo, 'volume', target, 'available')
    assert.equal(await sumOf(target), sum)
  })

  test(`a delete ends well though ${name} in its middle`, async (t) => {
    const demo = await memberOf(t)
    const [volume] = await writtenVolume(demo)
    const backup = await demo.createBackup(volume)
    const begun = startsOf('delete')
    await demo.call('DELETE', `/backups/${backup}`)
    await until(async () => startsOf('delete') > begun)
    await outage()

    await ends(demo, 'backup', backup, 'gone')
    assert.deepEqual(await demo.objectsOf(backup), [])
    await demo.createBackup(volume) // Everything works as before.
  })
}

async function memberOf(t: TestContext): Promise<CinderUser> {
  const user = await CinderUser.login('demo')
  t.after(() => user.removeAll())
  return user
}

/** So much that it takes its time. */
async function writtenVolume(user: CinderUser): Promise<[string, string]> {
  const id = await user.createVolume()
  await writeVolume(id, noise(randomUUID(), 192 * mebibyte), 7 * mebibyte + 512)
  return [id, await sumOf(id)]
}

async function asked(user: CinderUser, backup: string, volume: string): Promise<void> {
  await user.call('POST', `/backups/${backup}/restore`, { restore: { volume_id: volume } })
}

async function restored(user: CinderUser, backup: string): Promise<string> {
  const target = await user.createVolume()
  return user.restore(backup, target)
}

async function bytesIn(volumeId: string): Promise<number> {
  const { blocks } = await stat(path.join(services().cinder.volumes, `volume-${volumeId}`))
  return blocks * 512
}

const startsOf = (operation: string) => agent.log().split(`${operation} started`).length - 1

/** An outage of theirs makes Cinder's services stutter for a while too. */
async function ends(
  user: CinderUser,
  kind: 'backup' | 'volume',
  id: string,
  wanted: string,
): Promise<void> {
  const through = ['creating', 'restoring', 'deleting', 'backing-up', 'restoring-backup']
  const deadline = performance.now() + 300_000
  while (true) {
    try {
      return await user.wait(kind, id, wanted, { seconds: 240, through })
    } catch (error) {
      const isTheirs = !(error instanceof CinderRefusal)
        ? error instanceof TypeError // fetch found nobody.
        : error.status >= 500
      if (!isTheirs || performance.now() > deadline) throw withLog(error)
    }
    await sleep(500)
  }
}

/** With the end of what the agent said. */
function withLog(error: unknown): Error {
  return new Error(`${(error as Error).message}\n${agent.log().slice(-6000)}`, { cause: error })
}

async function until(check: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 120_000
  while (!(await check())) {
    if (performance.now() > deadline) throw new Error(`it never came\n${agent.log().slice(-6000)}`)
    await sleep(20)
  }
}
