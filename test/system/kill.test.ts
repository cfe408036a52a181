// The agent is killed, at any moment: what it promised it keeps, once.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import type { OutgoingMessage } from '#src/adapters/rpc/oslo-envelope.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { Operation } from '#src/domain/job.ts'
import {
  type AgentHome,
  type AgentProcess,
  type AgentSettings,
  agentHome,
  spawnAgent,
  startAgent,
} from '../support/agent.ts'
import { aContext } from '../support/builders.ts'
import { rabbitVhost } from '../support/rabbit-vhost.ts'
import { runsOf } from '../support/runs.ts'
import { recordFor } from '../support/scheduler.ts'
import { times } from '../support/soak.ts'
import { type Heard, type SteadyPeer, steadyPeer } from '../support/steady-peer.ts'
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
const volumeBytes = 4096 * kibibyte

/** Jobs of 18 requests each to the store, slowed so that a kill finds them in mid-work. */
function slowed(requestsMax: number): AgentSettings {
  return {
    DEFAULT: { backup_file_size: 256 * kibibyte, backup_sha_block_size_bytes: 32 * kibibyte },
    cinder_backup_agent: { requests_max: requestsMax },
  }
}

type Asked = {
  readonly operation: Operation
  readonly record: BackupRecord
  /** Of a restore. */
  readonly targetId: string | null
}

/** Sends requests of every kind, about backups that are there by then. */
function scheduler(home: AgentHome, peer: SteadyPeer, random: () => number, seed: string) {
  const context = aContext()
  const asked: Asked[] = []
  const sent: OutgoingMessage[] = []
  const sourceOf = new Map<string, string>()
  const busy = new Set<string>()

  function available(): BackupRecord[] {
    return peer.heard.flatMap(({ eventType, payload }) => {
      const record = payload['record'] as BackupRecord
      const isThere = eventType === 'backup.create.end' && !busy.has(record.id)
      return isThere ? [record] : []
    })
  }
  async function send(one: Asked): Promise<void> {
    asked.push(one)
    const { operation, record, targetId } = one
    const extra = targetId === null ? {} : { volume_id: targetId }
    sent.push(await peer.cast(operation, record, extra))
  }
  return {
    asked,
    /** Nearly a third of what was ever sent, once more, as a broker or a sender may do. */
    async repeat(): Promise<number> {
      const again = sent.filter(() => random() < 0.3).slice(-5)
      for (const message of again) await peer.publish(message)
      return again.length
    },
    sourceOf,
    available,
    async restore(record: BackupRecord): Promise<void> {
      const targetId = await emptyVolume(home, volumeBytes)
      await send({ operation: 'restore', record, targetId })
    },
    async next(): Promise<void> {
      const [known] = available().toSorted(() => random() - 0.5)
      const kind = random()
      if (known === undefined || kind < 0.5) {
        const volumeId = await volumeWith(home, diskBytes(`${seed} ${asked.length}`, volumeBytes))
        const record = recordFor(volumeId, context)
        sourceOf.set(record.id, volumeId)
        await send({ operation: 'create', record, targetId: null })
      } else if (kind < 0.8) {
        await this.restore(known)
      } else {
        busy.add(known.id)
        await send({ operation: 'delete', record: known, targetId: null })
      }
    },
  }
}

async function allEnded(peer: SteadyPeer, asked: readonly Asked[]): Promise<void> {
  for (const { operation, record, targetId } of asked) {
    await peer.hears(
      `the end of the ${operation} of ${record.id}`,
      ({ eventType, payload }) =>
        new RegExp(`^backup\\.${operation}\\.(end|error)$`).test(eventType) &&
        payload['backup_id'] === record.id &&
        (payload['restored_volume_id'] ?? targetId) === targetId,
      90,
    )
  }
}

async function moreHeard(peer: SteadyPeer): Promise<void> {
  const before = peer.heard.length
  const isNew = (event: Heard) =>
    peer.heard.indexOf(event) >= before && !event.eventType.endsWith('progress')
  await peer.hears('one event more', isNew)
}

test('after kill -9 at random moments every request has run once, to one outcome', async (t) => {
  const seed = testSeed(t)
  const random = randomOf(seed)
  const vhost = await rabbitVhost(t)
  const home = await agentHome(t, vhost.transportUrl, slowed(60))
  const peer = await steadyPeer(t, vhost.amqpUrl)
  const { asked, sourceOf, available, ...requests } = scheduler(home, peer, random, seed)
  let agent: AgentProcess = await startAgent(t, home)

  const kills = times(10, 50)
  let repeated = 0
  for (let kill = 0; kill < kills; kill += 1) {
    for (let count = random() < 0.5 ? 1 : 2; count > 0; count -= 1) await requests.next()
    repeated += await requests.repeat()
    // Within 50 ms of the publish, at any time, or just when an event has left the agent.
    if (kill % 4 === 3) await moreHeard(peer)
    else await sleep(random() * (kill % 2 === 0 ? 50 : 1500))
    await agent.end('SIGKILL')
    agent = spawnAgent(t, home)
    await agent.logged(/\bserving\b/)
    if (random() < 0.7) await allEnded(peer, asked)
  }
  await allEnded(peer, asked)
  for (const record of available()) await requests.restore(record)
  await allEnded(peer, asked)
  assert.equal(await agent.end('SIGTERM'), 0)
  await sleep(200) // What the broker still has of it is on its way.

  const runs = runsOf(peer.heard)
  for (const operation of ['create', 'restore', 'delete'] as const) {
    const wanted = asked.filter((one) => one.operation === operation).map(({ record }) => record.id)
    const seen = runs.filter((run) => run.operation === operation).map(({ backupId }) => backupId)
    assert.deepEqual(seen.toSorted(), wanted.toSorted(), `each ${operation} ran once`)
  }
  const failed = runs.filter(({ final }) => final.eventType.endsWith('.error'))
  for (const { final, operation, backupId } of failed) {
    const { code } = final.payload
    const isDeleted = asked.some((one) => one.operation === 'delete' && one.record.id === backupId)
    const isCancelled = code === 'OPERATION_CANCELLED' && operation === 'restore' && isDeleted
    assert.ok(code === 'CRASHED_REPEATEDLY' || isCancelled, `${operation}: ${code}`)
  }
  for (const { final } of runs.filter(({ operation }) => operation === 'create')) {
    const { status, fail_reason: reason } = final.payload['record'] as BackupRecord
    assert.ok(status === 'available' || (status === 'error' && reason !== null), status ?? 'none')
  }
  await assertRestored(home, asked, runs, sourceOf)
  await assertOnlyRecorded(home, runs)
  const copies = runs.reduce((sum, run) => sum + run.copies, 0)
  t.diagnostic(
    `${kills} kills, ${asked.length} requests, ${repeated} sent again, ${runs.length} runs, ${failed.length} given up or cancelled, ` +
      `${copies} copies of events, ${peer.heard.length} events`,
  )
})

type Runs = ReturnType<typeof runsOf>

async function assertRestored(
  home: AgentHome,
  asked: readonly Asked[],
  runs: Runs,
  sourceOf: ReadonlyMap<string, string>,
): Promise<void> {
  let count = 0
  for (const { operation, final } of runs) {
    if (operation !== 'restore' || !final.eventType.endsWith('.end')) continue
    const { restored_volume_id: targetId, backup_id: backupId } = final.payload
    const source = sourceOf.get(String(backupId))
    assert.ok(source !== undefined)
    const sums = [source, String(targetId)].map((id) => sha256Of(volumeFile(home, id)))
    const [wanted, found] = await Promise.all(sums)
    assert.equal(found, wanted, `backup ${backupId} was not restored as it was`)
    count += 1
  }
  assert.ok(count > 0, `none of ${asked.length} requests was a restore that ended well`)
}

/** Nothing lies in the store but what the last record of a backup names, and of a deleted one nothing. */
async function assertOnlyRecorded(home: AgentHome, runs: Runs): Promise<void> {
  const last = new Map<string, BackupRecord>()
  for (const { operation, final } of runs) {
    if (operation !== 'restore') last.set(final.payload['backup_id'] as string, recordOf(final))
  }
  const prefixes = [...last.values()]
    .filter(({ status }) => status !== 'deleted')
    .map(({ container, service_metadata: prefix }) => `${container}/${prefix}`)
  const files = await storedFiles(home)
  const strays = files.filter((file) => !prefixes.some((prefix) => file.startsWith(prefix)))
  assert.deepEqual(strays, [])
}

const recordOf = ({ payload }: { payload: Runs[number]['final']['payload'] }) =>
  payload['record'] as BackupRecord

test('a job that begins three times and gets nowhere is given up, and others are served', async (t) => {
  const vhost = await rabbitVhost(t)
  const home = await agentHome(t, vhost.transportUrl, slowed(1))
  const peer = await steadyPeer(t, vhost.amqpUrl)
  const volumeId = await volumeWith(home, diskBytes('never done', volumeBytes))
  const record = recordFor(volumeId, aContext(), { id: randomUUID() })

  let agent = await startAgent(t, home)
  await peer.cast('create', record)
  for (let crash = 1; crash <= 3; crash += 1) {
    await agent.logged(/create started/)
    await agent.end('SIGKILL')
    agent = await startAgent(t, home)
  }

  const { eventType, payload } = await peer.ended('create', record.id)
  assert.equal(eventType, 'backup.create.error')
  assert.equal(payload['code'], 'CRASHED_REPEATEDLY')
  assert.match(String(payload['message']), /^create was begun 3 times/)
  assert.equal(payload['status'], 'error')
  assert.match(String(payload['fail_reason']), /^CRASHED_REPEATEDLY: create was begun 3 times/)

  const small = recordFor(await volumeWith(home, diskBytes('done', 4096)), aContext())
  await peer.cast('create', small)
  assert.equal((await peer.ended('create', small.id)).eventType, 'backup.create.end')
  runsOf(peer.heard)
})

test('a cancel that is killed half way ends all the same, and leaves no object', async (t) => {
  const vhost = await rabbitVhost(t)
  const home = await agentHome(t, vhost.transportUrl, slowed(6))
  const peer = await steadyPeer(t, vhost.amqpUrl)
  const record = recordFor(await volumeWith(home, diskBytes('cancelled', volumeBytes)), aContext())

  let agent = await startAgent(t, home)
  await peer.cast('create', record)
  while ((await storedFiles(home)).length < 4) await sleep(20)
  await peer.cast('delete', record)
  await agent.logged(/request accepted.*operation=delete/)
  await agent.end('SIGKILL')
  agent = await startAgent(t, home)

  assert.equal((await peer.ended('create', record.id)).payload['status'], 'deleting')
  assert.equal((await peer.ended('delete', record.id)).payload['status'], 'deleted')
  assert.deepEqual(await storedFiles(home), [])
  assert.equal(runsOf(peer.heard).length, 2)
})

test('a delete that is killed half way leaves no object in the end', async (t) => {
  const vhost = await rabbitVhost(t)
  const home = await agentHome(t, vhost.transportUrl, slowed(10))
  const peer = await steadyPeer(t, vhost.amqpUrl)
  const volumeId = await volumeWith(home, diskBytes('to be deleted', volumeBytes))
  const record = recordFor(volumeId, aContext())

  let agent = await startAgent(t, home)
  await peer.cast('create', record)
  const made = (await peer.ended('create', record.id)).payload['record'] as BackupRecord
  const before = (await storedFiles(home)).length
  await peer.cast('delete', made)
  let left = before
  while (left === before) left = (await storedFiles(home)).length
  await agent.end('SIGKILL')
  left = (await storedFiles(home)).length
  assert.ok(left > 0, 'it was killed too late to show anything')

  agent = await startAgent(t, home)
  const { eventType, payload } = await peer.ended('delete', record.id)
  assert.equal(eventType, 'backup.delete.end')
  assert.equal(payload['status'], 'deleted')
  assert.deepEqual(await storedFiles(home), [])
  runsOf(peer.heard)
  t.diagnostic(`${before} objects, ${left} left at the kill`)
})
