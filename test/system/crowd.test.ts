// Many jobs at once on a host with little memory: all end, none starves, and the kernel kills nobody.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { link, writeFile } from 'node:fs/promises'
import { type TestContext, test } from 'node:test'

import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { Operation } from '#src/domain/job.ts'
import type { JsonObject } from '#src/domain/json.ts'
import { monotonicMs } from '#src/lib/clock.ts'
import { fairness } from '../../bench/statistics.ts'
import {
  type AgentHome,
  type AgentSettings,
  agentCommand,
  agentHome,
  spawnAgent,
} from '../support/agent.ts'
import { aContext } from '../support/builders.ts'
import { peakRssMib } from '../support/memory.ts'
import { memoryCgroup } from '../support/memory-cgroup.ts'
import { rabbitVhost } from '../support/rabbit-vhost.ts'
import { recordFor } from '../support/scheduler.ts'
import { times } from '../support/soak.ts'
import { type Heard, type SteadyPeer, steadyPeer } from '../support/steady-peer.ts'
import { diskBytes, sha256 } from '../support/volume-data.ts'
import { emptyVolume, sha256Of, volumeFile } from '../support/volume-files.ts'

const mebibyte = 1_048_576
const memoryMib = 512
const jobs = 8

type Job = { readonly record: BackupRecord; readonly extra?: JsonObject }

/** Runs all of them at once, each to its good end. */
async function allAtOnce(
  peer: SteadyPeer,
  operation: Operation,
  asked: readonly Job[],
): Promise<readonly Heard[]> {
  for (const { record, extra } of asked) await peer.cast(operation, record, extra)
  const ends = await Promise.all(
    asked.map(({ record }) => peer.ended(operation, record.id, times(120, 1200))),
  )
  for (const { eventType, payload } of ends) {
    assert.equal(eventType, `backup.${operation}.end`, JSON.stringify(payload))
  }
  return ends
}

async function agentInLittleMemory(t: TestContext, settings: AgentSettings = {}) {
  const stack = new AsyncDisposableStack()
  t.after(() => stack.disposeAsync())
  const cgroup = await memoryCgroup(stack, memoryMib)
  const vhost = await rabbitVhost(t)
  // Nothing is said of memory: it must find the limit by itself, and keep to it.
  const home = await agentHome(t, vhost.transportUrl, settings)
  const starter = ['/bin/sh', '-c', 'echo $$ >"$0" && exec "$@"', cgroup.procsFile]
  const agent = spawnAgent(t, home, {}, [...starter, agentCommand])
  await agent.logged(/\bserving\b/)
  return { home, cgroup, agent, peer: await steadyPeer(t, vhost.amqpUrl) }
}

/** As many volumes of the same bytes as there are jobs. */
async function sameVolumes(home: AgentHome, bytes: Uint8Array): Promise<readonly string[]> {
  const content = volumeFile(home, randomUUID())
  await writeFile(content, bytes)
  const ids = Array.from({ length: jobs }, () => randomUUID())
  for (const id of ids) await link(content, volumeFile(home, id))
  return ids
}

test('eight backups, and eight restores, at once in 512 MiB all end, with every byte', async (t) => {
  const { home, cgroup, agent, peer } = await agentInLittleMemory(t)
  const bytes = diskBytes('crowd', times(96, 512) * mebibyte)
  const volumes = await sameVolumes(home, bytes)

  const asked = volumes.map((id) => ({ record: recordFor(id, aContext()) }))
  const backups = await allAtOnce(peer, 'create', asked)
  const targets = await Promise.all(volumes.map(() => emptyVolume(home, bytes.byteLength)))
  const restores = backups.map(({ payload }, index) => ({
    record: payload['record'] as BackupRecord,
    extra: { volume_id: targets[index] ?? '' },
  }))
  await allAtOnce(peer, 'restore', restores)

  const wanted = sha256(bytes)
  for (const id of targets) assert.equal(await sha256Of(volumeFile(home, id)), wanted)
  assert.equal(await cgroup.oomKills(), 0)
  assert.equal(agent.exitCode, null)
  t.diagnostic(`${await peakRssMib(agent.pid)} MiB resident at most`)
})

test('jobs that run at once get equal shares', async (t) => {
  // Chunks are small against a job, so that what one job has more than another is not one chunk.
  const { home, peer } = await agentInLittleMemory(t, {
    DEFAULT: { backup_file_size: 2 * mebibyte },
  })
  const volumes = await sameVolumes(home, diskBytes('fair', times(96, 512) * mebibyte))

  const startMs = monotonicMs()
  const asked = volumes.map((id) => ({ record: recordFor(id, aContext()) }))
  const ends = await allAtOnce(peer, 'create', asked)

  const seconds = ends.map(({ atMs }) => (atMs - startMs) / 1000)
  const jain = fairness(seconds.map((one) => 1 / one))
  const said = `Jain's index ${jain.toFixed(3)}: ${seconds.map((one) => one.toFixed(1)).join(' ')} s`
  assert.ok(jain >= 0.95, said)
  t.diagnostic(said)
})
