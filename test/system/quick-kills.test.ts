// However soon a start is killed again, a job that gets on is not one that crashes.

import assert from 'node:assert/strict'
import { readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { Operation } from '#src/domain/job.ts'
import type { JsonObject } from '#src/domain/json.ts'
import {
  type AgentHome,
  type AgentProcess,
  agentHome,
  spawnAgent,
  startAgent,
} from '../support/agent.ts'
import { aContext } from '../support/builders.ts'
import { rabbitVhost } from '../support/rabbit-vhost.ts'
import { recordFor } from '../support/scheduler.ts'
import { times } from '../support/soak.ts'
import { isFinal, type SteadyPeer, steadyPeer } from '../support/steady-peer.ts'
import { noise } from '../support/volume-data.ts'
import { emptyVolume, sha256Of, volumeFile, volumeWith } from '../support/volume-files.ts'

const kibibyte = 1024
const volumeBytes = 128 * 64 * kibibyte
const kills = times(7, 20)

const settings = {
  DEFAULT: { backup_file_size: 64 * kibibyte, backup_sha_block_size_bytes: 32 * kibibyte },
  cinder_backup_agent: { requests_max: 60 },
}

/** Where the first start is killed: far on, so that those after it have much to pass over. */
const comesFarBytes = 800

/** What is done is noted in these; in no other file of a job. */
const noted = /\/(?:windows|steps)$/

/** How much the agent has noted of what it did. */
async function notedBytes({ stateDir }: AgentHome): Promise<number> {
  const kept = path.join(stateDir, 'spool', 'kept')
  const names = await readdir(kept, { recursive: true }).catch(() => [])
  const sizes = names
    .filter((name) => noted.test(name))
    .map((name) =>
      stat(path.join(kept, name)).then(
        ({ size }) => size,
        () => 0, // It ended meanwhile.
      ),
    )
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0)
}

/** Which start in a row without a move this one was, by its log. */
function startsCounted(agent: AgentProcess): number {
  return Number(/ started .*\bstarts=(\d+)/.exec(agent.log())?.[1])
}

/** Kills each start of the job just after it has noted something; resolves to the final record. */
async function killedQuickly(
  t: TestContext,
  { home, peer }: { home: AgentHome; peer: SteadyPeer },
  operation: Operation,
  record: BackupRecord,
  extra: JsonObject = {},
): Promise<BackupRecord> {
  let agent = await startAgent(t, home)
  await peer.cast(operation, record, extra)
  const isOver = () => peer.heard.some(({ eventType }) => isFinal(eventType, operation))
  let count = 0
  for (; count < kills; count += 1) {
    const wantedBytes = (await notedBytes(home)) + (count === 0 ? comesFarBytes : 1)
    while ((await notedBytes(home)) < wantedBytes && !isOver()) await sleep(2)
    if (isOver()) break
    await agent.end('SIGKILL')
    assert.ok(startsCounted(agent) <= 2, `what a start had noted was not seen: ${agent.log()}`)
    agent = spawnAgent(t, home)
  }
  await agent.logged(/\bserving\b/)
  const { eventType, payload } = await peer.ended(operation, record.id)
  assert.equal(eventType, `backup.${operation}.end`, `${payload['code']}: ${payload['message']}`)
  assert.equal(await agent.end('SIGTERM'), 0)
  assert.ok(count > 3, `only ${count} kills came before its end`)
  t.diagnostic(`${operation}: ${count} kills, each after something was noted`)
  return payload['record'] as BackupRecord
}

test('a backup and a restore that move a little in each start are ended, however soon they are killed', async (t) => {
  const vhost = await rabbitVhost(t)
  const home = await agentHome(t, vhost.transportUrl, settings)
  const peer = await steadyPeer(t, vhost.amqpUrl)
  const volumeId = await volumeWith(home, noise('quick kills', volumeBytes))
  const asked = recordFor(volumeId, aContext())
  const made = await killedQuickly(t, { home, peer }, 'create', asked)
  const targetId = await emptyVolume(home, volumeBytes)
  await killedQuickly(t, { home, peer }, 'restore', made, { volume_id: targetId })
  const [wanted, found] = [volumeId, targetId].map((id) => sha256Of(volumeFile(home, id)))
  assert.equal(await found, await wanted)
})
