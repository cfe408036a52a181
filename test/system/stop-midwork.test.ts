// A stop in mid-work is soon over, and the next start goes on: what was moved is not moved again.

import assert from 'node:assert/strict'
import { stat } from 'node:fs/promises'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { Operation } from '#src/domain/job.ts'
import type { JsonObject } from '#src/domain/json.ts'
import { monotonicMs } from '#src/lib/clock.ts'
import { type AgentHome, agentHome, startAgent } from '../support/agent.ts'
import { aContext } from '../support/builders.ts'
import { rabbitVhost } from '../support/rabbit-vhost.ts'
import { runsOf } from '../support/runs.ts'
import { recordFor } from '../support/scheduler.ts'
import { times } from '../support/soak.ts'
import { isFinal, type SteadyPeer, steadyPeer } from '../support/steady-peer.ts'
import { diskBytes } from '../support/volume-data.ts'
import {
  emptyVolume,
  randomOf,
  sha256Of,
  storedFiles,
  testSeed,
  volumeFile,
  volumeWith,
} from '../support/volume-files.ts'

const kibibyte = 1024
const chunkBytes = 256 * kibibyte
const chunks = 64
const volumeBytes = chunks * chunkBytes
const uploadsMax = 4
const stopMsMax = 10_000
const stops = times(2, 20)

/** Chunk objects by name, and when each was written: one that was put again is another file. */
async function chunksIn(home: AgentHome): Promise<ReadonlyMap<string, string>> {
  const names = (await storedFiles(home)).filter((name) => /-\d{5}$/.test(name))
  const found = await Promise.all(
    names.map(async (name) => {
      const { ino, mtimeNs } = await stat(path.join(home.store, name), { bigint: true })
      return [name, `${ino} ${mtimeNs}`] as const
    }),
  )
  return new Map(found)
}

type Scene = {
  readonly t: TestContext
  readonly home: AgentHome
  readonly peer: SteadyPeer
  readonly random: () => number
}

/** Stops the agent at random moments of a job, and starts it again, until the job has ended. */
async function stoppedOften(
  { t, home, peer, random }: Scene,
  operation: Operation,
  record: BackupRecord,
  extra: JsonObject,
  afterStop: () => Promise<void> = async () => {},
): Promise<BackupRecord> {
  const isOver = () => peer.heard.some(({ eventType }) => isFinal(eventType, operation))
  let agent = await startAgent(t, home)
  await peer.cast(operation, record, extra)
  let slowestMs = 0
  let inWork = 0
  for (let stop = 0; stop < stops && !isOver(); stop += 1) {
    await agent.logged(new RegExp(`${operation} (started|ended)`))
    await sleep(random() * 400)
    const startMs = monotonicMs()
    assert.equal(await agent.end('SIGTERM'), 0)
    slowestMs = Math.max(slowestMs, Math.round(monotonicMs() - startMs))
    if (/left for the next start/.test(agent.log())) inWork += 1
    await afterStop()
    agent = await startAgent(t, home)
  }
  const { eventType, payload } = await peer.ended(operation, record.id)
  assert.equal(eventType, `backup.${operation}.end`, `${payload['code']}: ${payload['message']}`)
  assert.equal(await agent.end('SIGTERM'), 0)
  assert.ok(slowestMs < stopMsMax, `a stop took ${slowestMs} ms`)
  assert.ok(inWork > 0, 'no stop came in mid-work')
  t.diagnostic(`${operation}: ${inWork} stops in mid-work, the slowest in ${slowestMs} ms`)
  return payload['record'] as BackupRecord
}

const codecs = ['zlib', 'bz2'] as const

for (const codec of codecs) {
  test(`${codec}: a backup and a restore go on where SIGTERM stopped them`, async (t) => {
    const seed = testSeed(t)
    const vhost = await rabbitVhost(t)
    const home = await agentHome(t, vhost.transportUrl, {
      DEFAULT: {
        backup_file_size: chunkBytes,
        backup_sha_block_size_bytes: 32 * kibibyte,
        backup_compression_algorithm: codec,
      },
      cinder_backup_agent: { requests_max: 30, uploads_max: uploadsMax },
    })
    const peer = await steadyPeer(t, vhost.amqpUrl)
    const scene = { t, home, peer, random: randomOf(seed) }
    const volumeId = await volumeWith(home, diskBytes(`stops ${seed}`, volumeBytes))

    let before: ReadonlyMap<string, string> = new Map()
    let again = 0
    const compare = async () => {
      const now = await chunksIn(home)
      for (const [name, version] of before) if (now.get(name) !== version) again += 1
      before = now
    }
    const asked = recordFor(volumeId, aContext())
    const made = await stoppedOften(scene, 'create', asked, {}, compare)
    await compare()
    assert.equal(before.size, chunks)
    assert.ok(again <= stops * uploadsMax, `${again} chunks were put again`)
    t.diagnostic(`${again} of ${chunks} chunks put again after ${stops} stops`)

    const targetId = await emptyVolume(home, volumeBytes)
    await stoppedOften(scene, 'restore', made, { volume_id: targetId })
    const [wanted, found] = [volumeId, targetId].map((id) => sha256Of(volumeFile(home, id)))
    assert.equal(await found, await wanted)
    assert.equal(runsOf(peer.heard).length, 2)
  })
}
