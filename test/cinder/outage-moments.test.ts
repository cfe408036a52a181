// Outages of Cinder's database and its bus at the worst moments: everything ends as it would have.

import assert from 'node:assert/strict'
import process from 'node:process'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import type { AgentProcess } from '../support/agent.ts'
import { spawnOurs, stopBackupService } from '../support/backup-service.ts'
import { cinderRows, cinderSql } from '../support/cinder-rows.ts'
import { freeze, servicePid } from '../support/frozen.ts'
import {
  askRestore,
  bytesIn,
  database,
  databaseAway,
  ends,
  memberOf,
  restartBroker,
  restored,
  startsOf,
  until,
  writtenVolume,
} from '../support/outage-bench.ts'
import { CinderUser, sumOf } from '../support/real-cinder.ts'
import { services } from '../support/services.ts'
import { times } from '../support/soak.ts'

const awaySeconds = times(5, 60)

let agent: AgentProcess
const last: (() => unknown)[] = []
const owner = { after: (end: () => unknown) => void last.push(end) }
before(async () => {
  await stopBackupService()
  agent = await spawnOurs(owner)
  await agent.logged(/\bserving\b/)
})
after(async () => {
  await agent.end('SIGTERM')
  for (const end of last.toReversed()) await end()
})

/** What takes the row of a backup for itself, until its server goes away. */
function holdRow(backup: string, seconds: number): Promise<unknown> {
  const wait =
    services().cinder.database === 'mariadb'
      ? `DO SLEEP(${seconds})`
      : `SELECT pg_sleep(${seconds})`
  const held = `BEGIN; SELECT id FROM backups WHERE id = '${backup}' FOR UPDATE; ${wait}; COMMIT`
  return cinderSql(held).catch(() => undefined) // It is cut off with its server.
}

test('a create ends well though the database goes away at its last save', async (t) => {
  const demo = await memberOf(t)
  const [volume, sum] = await writtenVolume(demo)
  const backup = await demo.beginBackup(volume)
  await until(agent, async () => (await demo.objectsOf(backup)).length > 0)
  const holding = holdRow(backup, 300)
  const isWhole = async () =>
    (await demo.objectsOf(backup)).some((name) => name.endsWith('_metadata'))
  await until(agent, isWhole)
  await sleep(1_000) // The save waits for its row by now.
  await databaseAway(awaySeconds)
  await holding

  await ends(agent, demo, 'backup', backup, 'available')
  await ends(agent, demo, 'volume', volume, 'available')
  assert.equal(await sumOf(await restored(demo, backup)), sum)
})

/** What is asked for reaches the agent when the database is away. */
async function arrivesWithoutDatabase(ask: () => Promise<unknown>): Promise<void> {
  const asleep = await freeze(agent.pid)
  try {
    await ask()
    await sleep(500) // The scheduler passes a create on.
    await database.stop()
  } finally {
    asleep.thaw()
  }
  await sleep(awaySeconds * 1000)
  await database.start()
}

test('a create that arrives while the database is away is done when it is back', async (t) => {
  const demo = await memberOf(t)
  const [volume, sum] = await writtenVolume(demo, 16)
  let backup = ''
  await arrivesWithoutDatabase(async () => {
    backup = await demo.beginBackup(volume)
  })

  await ends(agent, demo, 'backup', backup, 'available')
  await ends(agent, demo, 'volume', volume, 'available')
  assert.equal(await sumOf(await restored(demo, backup)), sum)
})

test('a restore that arrives while the database is away is done when it is back', async (t) => {
  const demo = await memberOf(t)
  const [volume, sum] = await writtenVolume(demo, 16)
  const backup = await demo.createBackup(volume)
  const target = await demo.createVolume()
  await arrivesWithoutDatabase(() => askRestore(demo, backup, target))

  await ends(agent, demo, 'backup', backup, 'available')
  await ends(agent, demo, 'volume', target, 'available')
  assert.equal(await sumOf(target), sum)
})

test('a delete that arrives while the database is away is done when it is back', async (t) => {
  const demo = await memberOf(t)
  const [volume] = await writtenVolume(demo, 16)
  const backup = await demo.createBackup(volume)
  await arrivesWithoutDatabase(() => demo.call('DELETE', `/backups/${backup}`))

  await ends(agent, demo, 'backup', backup, 'gone')
  assert.deepEqual(await demo.objectsOf(backup), [])
})

test('a device that is given while the database is away is taken when it is back', async (t) => {
  const demo = await memberOf(t)
  const [volume, sum] = await writtenVolume(demo, 16)
  const before = startsOf(agent, 'create')
  const volumeService = await freeze(await servicePid('cinder-volume'))
  let backup = ''
  try {
    backup = await demo.beginBackup(volume)
    await until(agent, async () => startsOf(agent, 'create') > before)
    await sleep(2_000) // It has asked, and nobody answers.
  } finally {
    volumeService.thaw()
  }
  await arrivesWithoutDatabase(() => sleep(2_000)) // The answer waits in the queue.

  await ends(agent, demo, 'backup', backup, 'available')
  assert.equal(await sumOf(await restored(demo, backup)), sum)
})

test('a create ends well though RabbitMQ is restarted before its device is given', async (t) => {
  const demo = await memberOf(t)
  const [volume, sum] = await writtenVolume(demo, 16)
  const before = startsOf(agent, 'create')
  const volumeService = await freeze(await servicePid('cinder-volume'))
  let backup = ''
  let restarting: Promise<unknown> | null = null
  try {
    backup = await demo.beginBackup(volume)
    await until(agent, async () => startsOf(agent, 'create') > before)
    await sleep(2_000) // It has asked, and nobody answers.
    restarting = restartBroker()
    await sleep(1_000) // A broker that stops waits half a minute for who does not hear it.
  } finally {
    volumeService.thaw()
  }
  await restarting

  await ends(agent, demo, 'backup', backup, 'available')
  await ends(agent, demo, 'volume', volume, 'available')
  assert.equal(await sumOf(await restored(demo, backup)), sum)
})

test('a restore ends well though RabbitMQ is restarted while it waits for its volume', async (t) => {
  const demo = await memberOf(t)
  const [volume, sum] = await writtenVolume(demo, 16)
  const backup = await demo.createBackup(volume)
  const target = await demo.createVolume()
  const before = startsOf(agent, 'restore')
  const volumeService = await freeze(await servicePid('cinder-volume'))
  let restarting: Promise<unknown> | null = null
  try {
    await askRestore(demo, backup, target)
    await until(agent, async () => startsOf(agent, 'restore') > before)
    await sleep(2_000) // It has asked to be connected.
    restarting = restartBroker()
    await sleep(1_000)
  } finally {
    volumeService.thaw()
  }
  await restarting

  await ends(agent, demo, 'backup', backup, 'available')
  await ends(agent, demo, 'volume', target, 'available')
  assert.equal(await sumOf(target), sum)
})

test('a create and a restore end well where the database is away when they are connected', async (t) => {
  const demo = await memberOf(t)
  const [volume, sum] = await writtenVolume(demo, 16)
  const backup = await demo.createBackup(volume)
  const [other, otherSum] = await writtenVolume(demo, 16)
  const target = await demo.createVolume()
  const before = startsOf(agent, 'restore')
  const volumeService = await freeze(await servicePid('cinder-volume'))
  let made = ''
  try {
    await askRestore(demo, backup, target)
    made = await demo.beginBackup(other)
    await until(agent, async () => startsOf(agent, 'restore') > before)
    await sleep(2_000)
    await database.stop()
  } finally {
    volumeService.thaw() // It has the requests, and no database.
  }
  await sleep(awaySeconds * 1000)
  await database.start()

  await ends(agent, demo, 'backup', backup, 'available')
  await ends(agent, demo, 'volume', target, 'available')
  assert.equal(await sumOf(target), sum)
  await ends(agent, demo, 'backup', made, 'available')
  assert.equal(await sumOf(await restored(demo, made)), otherSum)
})

test('a create of a volume in use ends well though cinder-volume had no database to begin it', async (t) => {
  const demo = await memberOf(t)
  const [volume, sum] = await writtenVolume(demo, 16)
  await demo.attach(volume)
  const before = startsOf(agent, 'create')
  const volumeService = await freeze(await servicePid('cinder-volume'))
  let backup = ''
  try {
    backup = await demo.beginBackup(volume, { force: true })
    await until(agent, async () => startsOf(agent, 'create') > before)
    await sleep(2_000)
    await database.stop()
  } finally {
    volumeService.thaw() // It takes the request, fails, and tells nobody.
  }
  await sleep(awaySeconds * 1000)
  await database.start()

  await ends(agent, demo, 'backup', backup, 'available')
  await ends(agent, demo, 'volume', volume, 'in-use')
  assert.equal(await sumOf(await restored(demo, backup)), sum)
})

test('the service is up again after its database was away for long, and works', async (t) => {
  const demo = await memberOf(t)
  const admin = await CinderUser.login('admin')
  const state = async () => {
    const { services: told } = await admin.call('GET', '/os-services?binary=cinder-backup')
    return (told as readonly { readonly state: string }[]).map((service) => service.state)
  }
  await databaseAway(times(20, 75))

  await until(agent, async () => {
    const states = await state().catch(() => [])
    return states.length > 0 && states.every((one) => one === 'up')
  })
  const [volume] = await writtenVolume(demo, 16)
  await demo.createBackup(volume)
  assert.match(agent.log(), /the database is away/)
  assert.match(agent.log(), /the database is back/)
})

test('a create ends well though its last save is the victim of a deadlock', async (t) => {
  if (services().cinder.database !== 'mariadb') return // PostgreSQL chooses the other as the victim.
  const demo = await memberOf(t)
  const [volume] = await writtenVolume(demo, 64)
  const parent = await demo.createBackup(volume)
  const deadlocks = async () =>
    Number((await cinderSql(`SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'`)).trim().split('\t')[1])
  const before = await deadlocks()
  const [{ num_dependent_backups: counted } = {}] = await cinderRows('backups', `id = '${parent}'`)
  const backup = await demo.beginBackup(volume, { incremental: true })
  // It has the parent's row first, and much to undo; ours waits for that row with the other in hand.
  await cinderSql(
    `START TRANSACTION;
     SELECT id FROM backups WHERE id = '${parent}' FOR UPDATE;
     UPDATE quota_usages SET updated_at = NOW();
     DO SLEEP(${times(15, 30)});
     UPDATE backups SET display_description = REPEAT('x', 200) WHERE id = '${backup}';
     COMMIT`,
  )

  await ends(agent, demo, 'backup', backup, 'available')
  await ends(agent, demo, 'volume', volume, 'available')
  const [row] = await cinderRows('backups', `id = '${parent}'`)
  assert.equal(row?.['num_dependent_backups'], Number(counted) + 1)
  assert.equal((await deadlocks()) > before, true, 'there was one')
})

test('an agent that starts without its database waits, says so, and serves when it is back', async (t) => {
  const demo = await memberOf(t)
  const [volume, sum] = await writtenVolume(demo, 16)
  await agent.end('SIGTERM')
  await database.stop()
  agent = await spawnOurs(owner)
  await agent.logged(/the database is away/, 60)
  await sleep(awaySeconds * 1000)
  assert.doesNotMatch(agent.log(), /\bserving\b/)
  assert.equal(agent.exitCode, null)
  process.kill(agent.pid, 0) // It lives.
  await database.start()

  await agent.logged(/\bserving\b/, 60)
  const backup = await demo.createBackup(volume)
  const target = await restored(demo, backup)
  assert.equal(await sumOf(target), sum)
  assert.ok((await bytesIn(target)) > 0)
})
