// The agent ends when it is told to, starts with what it left, and does not start where it must not.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

import { monotonicMs } from '#src/lib/clock.ts'
import {
  type AgentHome,
  type AgentSettings,
  agentHome,
  spawnAgent,
  startAgent,
} from '../support/agent.ts'
import { aContext } from '../support/builders.ts'
import { startPeer } from '../support/python.ts'
import { rabbitVhost } from '../support/rabbit-vhost.ts'
import { runsOf } from '../support/runs.ts'
import { recordFor } from '../support/scheduler.ts'
import { checkout } from '../support/services.ts'
import { smallDisk } from '../support/small-disk.ts'
import { times } from '../support/soak.ts'
import { type SteadyPeer, steadyPeer } from '../support/steady-peer.ts'
import { diskBytes } from '../support/volume-data.ts'
import {
  emptyVolume,
  randomOf,
  sha256Of,
  testSeed,
  volumeFile,
  volumeWith,
} from '../support/volume-files.ts'

const kibibyte = 1024
const diskSizeBytes = 4096 * kibibyte

const smallChunks = {
  backup_file_size: 256 * kibibyte,
  backup_sha_block_size_bytes: 32 * kibibyte,
}

/** A backup is eighteen requests to the store. */
function paced(requestsMax: number): AgentSettings {
  return { DEFAULT: smallChunks, cinder_backup_agent: { requests_max: requestsMax } }
}

type Scene = { readonly home: AgentHome; readonly peer: SteadyPeer; readonly volumeId: string }

async function scene(t: TestContext, settings: AgentSettings): Promise<Scene> {
  const vhost = await rabbitVhost(t)
  const home = await agentHome(t, vhost.transportUrl, settings)
  const peer = await steadyPeer(t, vhost.amqpUrl)
  const volumeId = await volumeWith(home, diskBytes('stop and start', diskSizeBytes))
  return { home, peer, volumeId }
}

/** Resolves to what `work` takes, in milliseconds, and to what it gives. */
async function timed<T>(work: () => Promise<T>): Promise<{ ms: number; result: T }> {
  const startMs = monotonicMs()
  const result = await work()
  return { ms: Math.round(monotonicMs() - startMs), result }
}

test('SIGTERM in mid-job ends the agent in time, and the next start ends the job', async (t) => {
  const { home, peer, volumeId } = await scene(t, paced(4))
  const record = recordFor(volumeId, aContext())
  const first = await startAgent(t, home)
  await peer.cast('create', record)
  await peer.hears('progress', ({ eventType }) => eventType === 'backup.createprogress')

  const stop = await timed(() => first.end('SIGTERM'))
  assert.equal(stop.result, 0)
  assert.ok(stop.ms < 10_000, `it took ${stop.ms} ms`)
  assert.match(first.log(), /left for the next start/)
  assert.match(first.log(), /stopped/)
  assert.ok(!peer.heard.some(({ eventType }) => /error|end/.test(eventType)), 'a stop is no end')

  const second = await startAgent(t, home)
  assert.equal((await peer.ended('create', record.id)).payload['status'], 'available')
  const made = (await peer.ended('create', record.id)).payload['record']
  assert.equal((await timed(() => second.end('SIGTERM'))).result, 0)
  assert.equal(runsOf(peer.heard).length, 1)
  assert.ok(made !== null)
  t.diagnostic(`stopped in ${stop.ms} ms`)
})

test('a restore that a stop cut short is whole after the next start', async (t) => {
  const { home, peer, volumeId } = await scene(t, paced(12))
  const record = recordFor(volumeId, aContext())
  const first = await startAgent(t, home)
  await peer.cast('create', record)
  const made = (await peer.ended('create', record.id)).payload['record'] as typeof record
  const targetId = await emptyVolume(home, diskSizeBytes)
  await peer.cast('restore', made, { volume_id: targetId })
  await peer.hears('its start', ({ eventType }) => eventType === 'backup.restore.start')
  assert.equal(await first.end('SIGTERM'), 0)

  await startAgent(t, home)
  assert.equal((await peer.ended('restore', record.id)).eventType, 'backup.restore.end')
  assert.equal(
    await sha256Of(volumeFile(home, targetId)),
    await sha256Of(volumeFile(home, volumeId)),
  )
})

test('however often it is stopped in order, a job is not taken for one that crashes', async (t) => {
  const { home, peer, volumeId } = await scene(t, paced(1))
  const record = recordFor(volumeId, aContext())
  let agent = await startAgent(t, home)
  await peer.cast('create', record)
  for (let stop = 1; stop <= 4; stop += 1) {
    await agent.logged(/create started/)
    assert.equal(await agent.end('SIGTERM'), 0)
    agent = spawnAgent(t, home, { CBA_CINDER_BACKUP_AGENT_REQUESTS_MAX: stop === 4 ? '0' : '1' })
    await agent.logged(/\bserving\b/)
  }
  assert.equal((await peer.ended('create', record.id)).payload['status'], 'available')
})

test('a second SIGTERM ends it at once', async (t) => {
  const { home, peer, volumeId } = await scene(t, paced(4))
  const agent = await startAgent(t, home)
  await peer.cast('create', recordFor(volumeId, aContext()))
  await agent.logged(/create started/)

  const ended = agent.end('SIGTERM')
  await agent.logged(/stopping/).catch(() => undefined) // It may be gone already.
  const { ms } = await timed(async () => {
    void agent.end('SIGTERM')
    return ended
  })
  assert.ok(ms < 1000, `it took ${ms} ms`)
})

test('an idle agent stops within a second', async (t) => {
  const { home } = await scene(t, {})
  const agent = await startAgent(t, home)
  const { ms, result } = await timed(() => agent.end('SIGTERM'))
  assert.equal(result, 0)
  assert.ok(ms < 1000, `it took ${ms} ms`)
  t.diagnostic(`stopped in ${ms} ms`)
})

test('a second agent on one state_dir ends with 11 and says which', async (t) => {
  const { home } = await scene(t, {})
  await startAgent(t, home)
  const second = spawnAgent(t, home)
  await second.logged(/JOURNAL_LOCKED/)
  assert.equal(await second.ended(), 11)
  assert.ok(second.log().includes(home.stateDir))
})

test('a configuration that cannot be used ends with 17 and names the option and its place', async (t) => {
  const { home } = await scene(t, {})
  const bad: readonly [string, RegExp][] = [
    ['[DEFAULT]\nbackup_file_size = many\n', /agent\.conf:2: .*backup_file_size/],
    ['[DEFAULT]\nbackup_driver = cinder.backup.drivers.ceph.CephBackupDriver\n', /backup_driver/],
    ['[cinder_backup_agent]\nvolume_paths = /dev/volumes/one\n', /volume_paths/],
    ['[DEFAULT]\ntransport_url = http://broker/\n', /transport_url/],
    ['[oslo_messaging_notifications]\ndriver = noop\n', /driver/],
  ]
  const configFile = path.join(home.folder, 'agent.conf')
  for (const [text, said] of bad) {
    writeFileSync(configFile, text)
    const agent = spawnAgent(t, { ...home, configFile })
    assert.equal(await agent.ended(), 17, text)
    assert.match(agent.log(), said)
    assert.match(agent.log(), /CONFIGURATION_INVALID/)
  }
})

test('the service manager hears READY=1 once requests are taken, and STOPPING=1', async (t) => {
  const { home } = await scene(t, {})
  const socket = path.join(home.folder, 'notify')
  await using manager = startPeer('notify_socket.py', [socket])
  const signal = AbortSignal.timeout(30_000)
  const heard = async () => JSON.parse((await manager.line(signal)) ?? 'null')
  assert.equal(await manager.line(signal), 'listening')

  const agent = spawnAgent(t, home, { NOTIFY_SOCKET: socket })
  const words: string[] = []
  const until = async (word: string) => {
    while (!words.some((one) => one.startsWith(word))) words.push(await heard())
  }
  await until('READY=1')
  assert.match(agent.log(), /serving/)
  assert.equal(await agent.end('SIGTERM'), 0)
  await until('STOPPING=1')
  const indexOf = (word: string) => words.findIndex((one) => one.startsWith(word))
  assert.ok(indexOf('READY=1') < indexOf('STOPPING=1'), words.join(' '))
})

test('a state folder that cannot be made ends the start and says which', async (t) => {
  const { home } = await scene(t, { cinder_backup_agent: { state_dir: '/etc/passwd/state' } })
  const agent = spawnAgent(t, home)
  assert.equal(await agent.ended(), 1)
  assert.match(agent.log(), /JOURNAL_UNAVAILABLE.*\/etc\/passwd\/state/)
})

test('a first start on a full disk fails, and room is all that the next one needs', async (t) => {
  const disk = await smallDisk(t, 2048)
  const { home } = await scene(t, { cinder_backup_agent: { state_dir: disk.folder } })
  disk.fill()
  const first = spawnAgent(t, home)
  assert.equal(await first.ended(), 1)
  assert.match(first.log(), /JOURNAL_UNAVAILABLE/)
  await disk.free()
  await startAgent(t, home)
})

test('a first start that is killed at any moment is followed by a good one', async (t) => {
  const seed = testSeed(t)
  const random = randomOf(seed)
  for (let kill = 0; kill < times(5, 40); kill += 1) {
    const { home } = await scene(t, {})
    const first = spawnAgent(t, home)
    await sleep(random() * 800)
    await first.end('SIGKILL')
    await startAgent(t, home)
  }
})

test('a host key that a crash at the first start left empty is made anew', async (t) => {
  const { home, peer, volumeId } = await scene(t, {})
  const key = path.join(home.stateDir, 'journal.key')
  mkdirSync(home.stateDir)
  writeFileSync(key, '')
  await startAgent(t, home)
  assert.equal(readFileSync(key).byteLength, 32)
  const record = recordFor(volumeId, aContext())
  await peer.cast('create', record)
  assert.equal((await peer.ended('create', record.id)).payload['status'], 'available')
})

test('a damaged journal ends the start and says which file to move aside', async (t) => {
  const { home } = await scene(t, {})
  const first = await startAgent(t, home)
  assert.equal(await first.end('SIGTERM'), 0)
  const journal = path.join(home.stateDir, 'journal.sqlite')
  writeFileSync(journal, 'no database at all'.repeat(1000))
  const second = spawnAgent(t, home)
  assert.equal(await second.ended(), 1)
  assert.match(second.log(), /JOURNAL_UNAVAILABLE/)
  assert.ok(second.log().includes(journal))
  assert.match(second.log(), /move it aside/)
})

test('`config check` says of the same configuration what the agent would say', async (t) => {
  const { home } = await scene(t, {})
  const run = promisify(execFile)
  const command = path.join(checkout, 'bin/cinder-backup-agent')
  await run(command, ['config', 'check', '--config-file', home.configFile])
  writeFileSync(home.configFile, '[DEFAULT]\nbackup_file_size = many\n')
  const failing = run(command, ['config', 'check', '--config-file', home.configFile])
  await assert.rejects(failing, (error: { code?: number; stderr?: string; stdout?: string }) => {
    assert.equal(error.code, 17)
    assert.match(`${error.stdout}${error.stderr}`, /backup_file_size/)
    return true
  })
})
