// What our agent costs while nobody asks it for anything.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { spawnOurs, stopBackupService } from '../support/backup-service.ts'
import { cinderSql } from '../support/cinder-rows.ts'
import { rssMib } from '../support/memory.ts'
import { services } from '../support/services.ts'
import { times } from '../support/soak.ts'

const minutes = times(1, 10)
const statementsMax = 20
const residentMibMax = 120

test(`an idle agent asks the database little and keeps little memory for ${minutes} minutes`, async (t) => {
  await stopBackupService()
  const agent = await spawnOurs(t)
  await agent.logged(/\bserving\b/, 120)
  await sleep(20_000) // What a start costs is over.

  const before = await statements()
  const beganMs = performance.now()
  await sleep(minutes * 60_000)
  const count = (await statements()) - before
  const perMinute = count / ((performance.now() - beganMs) / 60_000)
  const mib = await rssMib(agent.pid)

  tell(t, perMinute, mib)
  assert.ok(mib <= residentMibMax, `${mib} MiB resident`)
  if (services().cinder.database !== 'mariadb') return // The other one counts for no user.
  assert.ok(count > 0, 'its heartbeat at least is counted')
  assert.ok(perMinute <= statementsMax, `${perMinute} statements a minute`)
  assert.equal(await agent.end('SIGTERM'), 0)
})

function tell(t: TestContext, perMinute: number, mib: number): void {
  t.diagnostic(`${perMinute.toFixed(1)} statements a minute, ${mib} MiB resident`)
}

/** How many the user of our agent has sent, as MariaDB counts them. */
async function statements(): Promise<number> {
  if (services().cinder.database !== 'mariadb') return 0
  const counted = await cinderSql(
    `SELECT coalesce(sum(select_commands + update_commands + other_commands), 0)
      FROM information_schema.user_statistics WHERE user = 'cinder_backup'`,
  )
  return Number(counted)
}
