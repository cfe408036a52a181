// RabbitMQ goes away, comes back, blocks and forgets: jobs go on, and nothing that matters is lost.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { connect } from 'amqplib'

import type { BackupRecord } from '#src/domain/backup-record.ts'
import { monotonicMs } from '#src/lib/clock.ts'
import {
  type AgentHome,
  type AgentProcess,
  agentHome,
  spawnAgent,
  startAgent,
} from '../support/agent.ts'
import { aContext } from '../support/builders.ts'
import { wholeFile } from '../support/driven-agent.ts'
import { privateRabbit } from '../support/rabbit-vhost.ts'
import { progressOf, runsOf } from '../support/runs.ts'
import { recordFor } from '../support/scheduler.ts'
import { times } from '../support/soak.ts'
import { type Heard, isFinal, type SteadyPeer, steadyPeer } from '../support/steady-peer.ts'
import { diskBytes } from '../support/volume-data.ts'
import { emptyVolume, sha256Of, testSeed, volumeFile, volumeWith } from '../support/volume-files.ts'

const kibibyte = 1024
const diskSizeBytes = 4096 * kibibyte

/** One for the file; its queues outlive its restarts. */
const broker = await privateRabbit(wholeFile)

type Scene = {
  readonly home: AgentHome
  readonly peer: SteadyPeer
  /** A volume with content of its own, and a record that asks for a backup of it. */
  readonly newRecord: () => Promise<BackupRecord>
}

async function scene(
  t: TestContext,
  requestsMax: number,
  transportUrl = broker.transportUrl,
): Promise<Scene> {
  const home = await agentHome(t, transportUrl, {
    DEFAULT: { backup_file_size: 256 * kibibyte, backup_sha_block_size_bytes: 32 * kibibyte },
    oslo_messaging_rabbit: { amqp_durable_queues: 'true' },
    cinder_backup_agent: { requests_max: requestsMax },
  })
  const peer = await steadyPeer(t, broker.amqpUrl, { durable: true })
  const seed = testSeed(t)
  let count = 0
  return {
    home,
    peer,
    async newRecord() {
      count += 1
      const volumeId = await volumeWith(home, diskBytes(`${seed} ${count}`, diskSizeBytes))
      return recordFor(volumeId, aContext())
    },
  }
}

const recordOf = ({ payload }: Heard) => payload['record'] as BackupRecord

/** Warnings and errors of the log about the broker. */
function complaints(log: string): readonly string[] {
  return log.split('\n').filter((line) => /\b(WARNING|ERROR)\b.*broker/.test(line))
}

test('a broker that is restarted during ten jobs loses none, repeats none, and hears all', async (t) => {
  const { home, peer, newRecord } = await scene(t, 16)
  const agent = await startAgent(t, home)
  const quick: BackupRecord[] = []
  for (let count = 0; count < 3; count += 1) {
    const record = await newRecord()
    await peer.cast('create', record)
    quick.push(recordOf(await peer.ended('create', record.id)))
  }
  const [first, second, third] = quick
  assert.ok(first && second && third)

  const restarts = times(1, 5)
  const targets: [BackupRecord, string][] = []
  for (let restart = 0; restart < restarts; restart += 1) {
    const round = peer.heard.length
    const creates = await Promise.all([1, 2, 3, 4, 5, 6].map(() => newRecord()))
    for (const record of creates.slice(0, 4)) await peer.cast('create', record)
    const restores = [first, second, third].map(async (record) => {
      const targetId = await emptyVolume(home, diskSizeBytes)
      targets.push([record, targetId])
      await peer.cast('restore', record, { volume_id: targetId })
    })
    await Promise.all(restores)
    const isProgress = (event: Heard) =>
      peer.heard.indexOf(event) >= round && event.eventType.endsWith('progress')
    await peer.hears('progress', isProgress)
    const restarting = broker.restart()
    // These are sent to a broker that is about to go, or gone.
    const late = creates.slice(4).map((record) => peer.cast('create', record))
    await Promise.all([restarting, ...late])
    for (const record of creates) await peer.ended('create', record.id, 120)
    for (const [, targetId] of targets) {
      await peer.hears(
        `the end of the restore onto ${targetId}`,
        ({ payload }) => payload['restored_volume_id'] === targetId,
        120,
      )
    }
  }
  const doomed = quick.pop()
  assert.ok(doomed)
  await peer.cast('delete', doomed)
  await peer.ended('delete', doomed.id)

  const runs = runsOf(peer.heard)
  assert.equal(runs.length, 3 + restarts * 9 + 1, 'one run for each request')
  for (const run of runs) {
    assert.ok(run.final.eventType.endsWith('.end'), JSON.stringify(run.final.payload))
    const done = progressOf(run)
    assert.deepEqual(
      done,
      done.toSorted((a, b) => a - b),
      'progress only grows',
    )
  }
  for (const [{ volume_id: sourceId }, targetId] of targets) {
    const [source, target] = [sourceId, targetId].map((id) => sha256Of(volumeFile(home, id)))
    assert.equal(await target, await source)
  }
  const copies = runs.reduce((sum, run) => sum + run.copies, 0)
  t.diagnostic(`${restarts} restarts, ${runs.length} runs, ${copies} copies of events`)
  const told = complaints(agent.log())
  assert.ok(told.length <= 9 * restarts, told.join('\n')) // Three connections.
})

test('jobs that end while the broker is away are told of afterwards, over restarts of the agent', async (t) => {
  const { home, peer, newRecord } = await scene(t, 12)
  const first = await startAgent(t, home)
  const records = [await newRecord(), await newRecord()]
  for (const record of records) await peer.cast('create', record)
  for (const { id } of records) {
    const isStart = ({ eventType, payload }: Heard) =>
      eventType === 'backup.create.start' && payload['backup_id'] === id
    await peer.hears('both starts', isStart)
  }
  await broker.stop()
  await first.end('SIGKILL')
  const second = spawnAgent(t, home)
  await second.logged(/(create ended[\s\S]*){2}/)
  const stopMs = monotonicMs()
  assert.equal(await second.end('SIGTERM'), 0)
  const stoppedMs = Math.round(monotonicMs() - stopMs)
  assert.ok(stoppedMs < 10_000, `a broker that is away held up the stop for ${stoppedMs} ms`)
  const before = peer.heard.length
  const [third] = await Promise.all([startAgent(t, home), broker.start()])

  for (const { id } of records) {
    assert.equal((await peer.ended('create', id)).payload['status'], 'available')
  }
  const logged = [...second.log().matchAll(/create ended.*?backup_id=([0-9a-f-]{36})/g)]
  const finals = peer.heard.slice(before).filter(({ eventType }) => isFinal(eventType))
  assert.deepEqual(
    finals.map(({ payload }) => payload['backup_id']),
    logged.map(([, id]) => id),
  )
  runsOf(peer.heard)
  assert.equal(third.exitCode, null)
  t.diagnostic(`stopped in ${stoppedMs} ms while the broker was away`)
})

test('connections that the broker closes in mid-job cost nothing', async (t) => {
  const { home, peer, newRecord } = await scene(t, 20)
  await startAgent(t, home)
  const record = await newRecord()
  await peer.cast('create', record)
  for (let cut = 0; cut < 3; cut += 1) {
    await broker.closeConnections()
    const another = await newRecord()
    await peer.cast('create', another, {}, cut === 1 ? home.host : null)
  }
  await peer.hears('four ends', () => peer.heard.filter(isEnd).length >= 4)
  const runs = runsOf(peer.heard)
  assert.equal(runs.length, 4)
  for (const { final } of runs) assert.equal(final.payload['status'], 'available')
})

const isEnd = ({ eventType }: Heard) => isFinal(eventType)

test('a broker with an alarm holds up neither jobs nor requests, and then loses no event', async (t) => {
  const { home, peer, newRecord } = await scene(t, 0)
  const first = await startAgent(t, home)
  assert.equal(await first.end('SIGTERM'), 0)
  const records = [await newRecord(), await newRecord(), await newRecord()]
  for (const record of records) await peer.cast('create', record, {}, home.host)

  await broker.block(true)
  t.after(() => broker.block(false))
  const agent = await startAgent(t, home)
  await agent.logged(/(create ended[\s\S]*){3}/)
  assert.equal(peer.heard.length, 0, 'it is blocked')
  await agent.logged(/the broker takes no messages/)
  await broker.closeConnections() // What was sent and never confirmed is lost.
  await broker.block(false)

  for (const { id } of records) {
    assert.equal((await peer.ended('create', id)).payload['status'], 'available')
  }
  assert.equal(runsOf(peer.heard).length, 3)
  assert.equal(await agent.end('SIGTERM'), 0)
})

test('an alarm does not hold up a stop, and what it held back leaves at the next start', async (t) => {
  const { home, peer, newRecord } = await scene(t, 0)
  const agent = await startAgent(t, home)
  const record = await newRecord()
  await peer.cast('create', record)
  await peer.ended('create', record.id)

  const waiting = await newRecord()
  await peer.cast('create', waiting)
  await broker.block(true)
  t.after(() => broker.block(false))
  await agent.logged(/(create ended[\s\S]*){2}/)
  const stopped = monotonicMs()
  assert.equal(await agent.end('SIGTERM'), 0)
  const stopMs = monotonicMs() - stopped
  assert.ok(stopMs < 10_000, `a blocked broker held up the stop for ${stopMs} ms`)
  await startAgent(t, home)
  await broker.block(false)
  await peer.ended('create', waiting.id)
  runsOf(peer.heard)
  t.diagnostic(`stopped in ${Math.round(stopMs)} ms while blocked`)
})

test('queues that are deleted under the agent are there again, and served', async (t) => {
  const { home, peer, newRecord } = await scene(t, 0)
  const agent = await startAgent(t, home)
  const plain = await connect(broker.amqpUrl)
  t.after(() => plain.close())
  const channel = await plain.createChannel()
  for (const queue of ['cinder-backup', `cinder-backup.${home.host}`]) {
    await channel.deleteQueue(queue)
    await agent.logged(new RegExp(`cancelled the consumer of ${queue}:`))
    await served(agent)
    for (const host of [null, home.host]) {
      const record = await newRecord()
      await peer.cast('create', record, {}, host)
      await peer.ended('create', record.id)
    }
  }
  // Whoever listened lost its queue too: the agent makes it anew and puts the events there.
  await channel.deleteQueue('notifications.info')
  const record = await newRecord()
  await peer.cast('create', record)
  await agent.logged(new RegExp(`create ended.*${record.id}`))
  const listener = await steadyPeer(t, broker.amqpUrl, { durable: true })
  assert.equal((await listener.ended('create', record.id)).payload['status'], 'available')
})

/** Until all that it lost is there again. */
async function served(agent: AgentProcess): Promise<void> {
  const count = (pattern: RegExp) => [...agent.log().matchAll(pattern)].length
  const deadlineMs = monotonicMs() + 20_000
  while (count(/broker again role=consume/g) < count(/no connection to the broker role=consume/g)) {
    assert.ok(monotonicMs() < deadlineMs, agent.log().slice(-2000))
    await sleep(50)
  }
}

test('with a wrong password it keeps trying, says so, floods no log, and serves in the end', async (t) => {
  const user = `late-${monotonicMs().toString(36).replace('.', '')}`
  const url = new URL(broker.transportUrl)
  url.username = user
  url.password = 'right'
  const { home, peer, newRecord } = await scene(t, 0, url.href)
  const agent = spawnAgent(t, home)
  await agent.logged(new RegExp(`refused the login of user ${user}`))
  const seconds = times(5, 90)
  await sleep(seconds * 1000)
  assert.equal(agent.exitCode, null, 'it goes on trying')
  const told = complaints(agent.log())
  assert.ok(told.length <= 6, `${told.length} lines in ${seconds} s:\n${told.join('\n')}`)
  assert.ok(!agent.log().includes('right'), 'the password is nowhere')

  await broker.ctl('add_user', user, 'right')
  await broker.ctl('set_permissions', user, '.*', '.*', '.*')
  t.after(() => broker.ctl('delete_user', user))
  await agent.logged(/\bserving\b/, 60)
  const record = await newRecord()
  await peer.cast('create', record)
  assert.equal((await peer.ended('create', record.id)).payload['status'], 'available')
  t.diagnostic(`${told.length} lines of the log in ${seconds} s`)
})
