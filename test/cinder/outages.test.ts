// What our agent does while Cinder's database or its bus is away: everything ends as it would have.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'

import type { AgentProcess } from '../support/agent.ts'
import { spawnOurs, stopBackupService } from '../support/backup-service.ts'
import {
  askRestore,
  bytesIn,
  databaseAway,
  ends,
  memberOf,
  restartBroker,
  restored,
  startsOf,
  until,
  writtenVolume,
} from '../support/outage-bench.ts'
import { sumOf } from '../support/real-cinder.ts'
import { times } from '../support/soak.ts'

const awaySeconds = times(10, 60)

const outages: Readonly<Record<string, () => Promise<unknown>>> = {
  [`the database is away for ${awaySeconds} s`]: () => databaseAway(awaySeconds),
  'RabbitMQ is restarted': restartBroker,
  'the database is away while RabbitMQ is restarted': () =>
    Promise.all([databaseAway(awaySeconds), restartBroker()]),
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
    await until(agent, async () => (await demo.objectsOf(backup)).length > 0)
    await outage()

    await ends(agent, demo, 'backup', backup, 'available')
    await ends(agent, demo, 'volume', volume, 'available')
    assert.equal(await sumOf(await restored(demo, backup)), sum)
  })

  test(`a restore ends well though ${name} in its middle`, async (t) => {
    const demo = await memberOf(t)
    const [volume, sum] = await writtenVolume(demo)
    const backup = await demo.createBackup(volume)
    const target = await demo.createVolume()
    await askRestore(demo, backup, target)
    await until(agent, async () => (await bytesIn(target)) > 0)
    await outage()

    await ends(agent, demo, 'backup', backup, 'available')
    await ends(agent, demo, 'volume', target, 'available')
    assert.equal(await sumOf(target), sum)
  })

  test(`a delete ends well though ${name} in its middle`, async (t) => {
    const demo = await memberOf(t)
    const [volume] = await writtenVolume(demo)
    const backup = await demo.createBackup(volume)
    const begun = startsOf(agent, 'delete')
    await demo.call('DELETE', `/backups/${backup}`)
    await until(agent, async () => startsOf(agent, 'delete') > begun)
    await outage()

    await ends(agent, demo, 'backup', backup, 'gone')
    assert.deepEqual(await demo.objectsOf(backup), [])
    await demo.createBackup(volume) // Everything works as before.
  })
}
