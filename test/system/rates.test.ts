// bandwidth_max holds for what the agent stores and fetches, and SIGHUP changes it while it works.

import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import process from 'node:process'
import { test } from 'node:test'

import { monotonicMs } from '#src/lib/clock.ts'
import { meteredWay } from '../support/byte-meter.ts'
import { drivenAgent } from '../support/driven-agent.ts'
import { keystoneToken } from '../support/keystone.ts'
import { services } from '../support/services.ts'
import { swiftContainer } from '../support/stores.ts'
import { contextOf, swiftSettings } from '../support/swift-agent.ts'
import { noise, sha256 } from '../support/volume-data.ts'

const mebibyte = 2 ** 20
const source = noise('rates', 18 * mebibyte)

test('a backup and a restore keep bandwidth_max, and SIGHUP changes it while they run', async (t) => {
  const way = await meteredWay(t, services().swift.url)
  const user = await keystoneToken('demo')
  const container = await swiftContainer(t, async () => ({ url: user.swiftUrl, token: user.token }))
  const options = {
    backup_swift_url: `${way.origin}/v1/AUTH_`,
    backup_swift_container: container.name,
    backup_swift_object_size: 2 * mebibyte,
    backup_compression_algorithm: 'none',
  }
  const limited = { cinder_backup_agent: { bandwidth_max: '2 MiB' } }
  const agent = await drivenAgent(t, swiftSettings(options, limited), contextOf(user))
  const asked = agent.asked(await agent.newVolume(source))
  /** Bytes a second between two amounts that have gone up. */
  const rateBetween = async (from: number, to: number) => {
    const [fromMs, toMs] = await Promise.all([way.up.passed(from), way.up.passed(to)])
    return ((to - from) * 1000) / (toMs - fromMs)
  }
  const slow = rateBetween(1 * mebibyte, 6 * mebibyte)
  const fast = rateBetween(9 * mebibyte, 17 * mebibyte)
  await agent.scheduler.ask('create', asked)

  const slowRate = await slow
  const conf = readFileSync(agent.home.configFile, 'utf8')
  writeFileSync(agent.home.configFile, conf.replace('2 MiB', '6 MiB'))
  process.kill(agent.agent.pid, 'SIGHUP')
  await agent.agent.logged(/bandwidth_max changed.*2097152.*6291456/)
  const fastRate = await fast
  assert.equal((await agent.scheduler.ended('create', asked.id)).payload['status'], 'available')

  way.down.reset()
  const first = way.down.passed(64 * 1024)
  const restoring = agent.restore(agent.scheduler.recordOf(asked.id), noise('x', source.length))
  const firstMs = await first
  const restored = await restoring
  const downRate = (source.length * 1000) / (monotonicMs() - firstMs)

  t.diagnostic(
    `bytes a second: ${[slowRate, fastRate, downRate].map(Math.round)} of 2097152, 6291456, 6291456`,
  )
  assert.equal(sha256(restored), sha256(source))
  // A machine that is busy with other things may keep it from being reached, never make it exceeded.
  const between = (rate: number, min: number, max: number) =>
    assert.ok(rate >= min && rate <= max, `${rate} is not between ${min} and ${max}`)
  between(slowRate, 0.85 * 2 * mebibyte, 1.05 * 2 * mebibyte)
  between(fastRate, 1.2 * 2 * mebibyte, 1.08 * 6 * mebibyte) // A second or two: its tenth counts.
  between(downRate, 1.2 * 2 * mebibyte, 1.08 * 6 * mebibyte)
})

test('a configuration that is broken at SIGHUP changes nothing, and the agent goes on', async (t) => {
  const agent = await drivenAgent(t)
  const conf = readFileSync(agent.home.configFile, 'utf8')
  const withOurs = (line: string) =>
    writeFileSync(
      agent.home.configFile,
      conf.replace('[cinder_backup_agent]\n', `[cinder_backup_agent]\n${line}\n`),
    )

  withOurs('bandwidth_max = fast')
  process.kill(agent.agent.pid, 'SIGHUP')
  await agent.agent.logged(/ERROR.*configuration not read again, the old one stays.*bandwidth_max/)
  withOurs('uploads_max = 9')
  process.kill(agent.agent.pid, 'SIGHUP')
  await agent.agent.logged(/WARNING.*options that changed need a restart.*uploads_max/)
  writeFileSync(agent.home.configFile, conf.replace('[DEFAULT]\n', '[DEFAULT]\ndebug = true\n'))
  process.kill(agent.agent.pid, 'SIGHUP')
  await agent.agent.logged(/INFO.*debug changed/)

  const volume = noise('goes on', 300_000)
  const record = await agent.backup(await agent.newVolume(volume))
  assert.equal(sha256(await agent.restore(record, noise('x', volume.length))), sha256(volume))
})
