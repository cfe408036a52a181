// Whatever the agent does, its main thread answers: the event loop is late by little, and seldom.

import assert from 'node:assert/strict'
import { readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { type TestContext, test } from 'node:test'

import type { BackupRecord } from '#src/domain/backup-record.ts'
import { type AgentSettings, agentHome, spawnAgent } from '../support/agent.ts'
import { aContext } from '../support/builders.ts'
import { largeVolume } from '../support/large-volumes.ts'
import { eventually } from '../support/rabbit.ts'
import { rabbitVhost } from '../support/rabbit-vhost.ts'
import { recordFor } from '../support/scheduler.ts'
import { services } from '../support/services.ts'
import { times } from '../support/soak.ts'
import { steadyPeer } from '../support/steady-peer.ts'
import { swiftContainer, tempauthAccess } from '../support/stores.ts'
import { byTempauth, swiftSettings } from '../support/swift-agent.ts'
import { emptyVolume, sha256Of, volumeFile } from '../support/volume-files.ts'

const mebibyte = 2 ** 20
const jobs = 4
const patienceSeconds = 1800
const p999MaxMs = 50

type Late = {
  readonly p50: number
  readonly p99: number
  readonly p999: number
  readonly max: number
}

/** How late the loop was; and how much of it when it had a core. */
type Seen = { readonly count: number; readonly all: Late; readonly own: Late }

const watch = path.join(import.meta.dirname, '../support/loop-watch.ts')

function told({ p50, p99, p999, max }: Late): string {
  const [a, b, c, d] = [p50, p99, p999, max].map((ms) => ms.toFixed(1))
  return `p50 ${a}, p99 ${b}, p99.9 ${c}, max ${d} ms`
}

async function underLoad(
  t: TestContext,
  volumeMib: number,
  settings: AgentSettings,
): Promise<void> {
  const vhost = await rabbitVhost(t)
  const home = await agentHome(t, vhost.transportUrl, settings)
  const peer = await steadyPeer(t, vhost.amqpUrl)
  const file = path.join(home.folder, 'loop.json')
  const sizeBytes = volumeMib * mebibyte
  const volumeIds: string[] = []
  for (let job = 0; job < jobs; job += 1) {
    volumeIds.push(await largeVolume(home, `loop ${job}`, sizeBytes))
  }
  const agent = spawnAgent(t, home, {
    NODE_OPTIONS: `--import=${watch}`,
    CBA_LOOP_WATCH: file,
  })
  await agent.logged(/\bserving\b/)

  /** What was seen since the last call. */
  async function look(): Promise<Seen> {
    rmSync(file, { force: true })
    process.kill(agent.pid, 'SIGUSR2')
    const read = () => {
      try {
        return JSON.parse(readFileSync(file, 'utf8')) as Seen
      } catch {
        return null
      }
    }
    await eventually(() => read() !== null, 'the agent writes what it saw')
    return read() as Seen
  }
  const judge = (what: string, { count, all, own }: Seen) => {
    t.diagnostic(
      `${what}: ${count} samples; late by ${told(all)}; while it had a core ${told(own)}`,
    )
    assert.ok(count > 0 && all.p50 <= all.p999 && all.p999 <= all.max)
    if (times(0, 1) === 1) assert.ok(own.p999 < p999MaxMs, `${what}: ${own.p999} ms`)
  }

  await look()
  const asked = volumeIds.map((id) => recordFor(id, aContext()))
  for (const record of asked) await peer.cast('create', record)
  const made: BackupRecord[] = []
  for (const { id } of asked) {
    const { eventType, payload } = await peer.ended('create', id, patienceSeconds)
    assert.equal(eventType, 'backup.create.end', String(payload['message']))
    made.push(payload['record'] as BackupRecord)
  }
  judge(`${jobs} backups of ${volumeMib} MiB`, await look())

  const targets = new Map<string, string>()
  for (const { id } of made) targets.set(id, await emptyVolume(home, sizeBytes))
  await look()
  for (const record of made) {
    await peer.cast('restore', record, { volume_id: targets.get(record.id) ?? '' })
  }
  for (const { id } of made) {
    const { eventType, payload } = await peer.ended('restore', id, patienceSeconds)
    assert.equal(eventType, 'backup.restore.end', String(payload['message']))
  }
  judge(`${jobs} restores of ${volumeMib} MiB`, await look())
  for (const { id, volume_id: source } of made) {
    const [wanted, found] = [source, targets.get(id) ?? ''].map((volume) =>
      sha256Of(volumeFile(home, volume)),
    )
    assert.equal(await found, await wanted)
  }
  assert.equal(await agent.end('SIGTERM'), 0)
}

test('four jobs at once on a POSIX store leave the event loop free', (t) =>
  underLoad(t, times(64, 1024), {}))

test('four jobs at once on Swift leave the event loop free', async (t) => {
  assert.ok(services().swift.url !== '')
  const container = await swiftContainer(t, () => tempauthAccess())
  const options = { ...byTempauth(), backup_swift_container: container.name }
  await underLoad(t, times(32, 1024), swiftSettings(options))
})
