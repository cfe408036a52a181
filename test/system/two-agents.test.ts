// Two agents on one bare topic: RabbitMQ is the scheduler, and a cancel finds its job.

import assert from 'node:assert/strict'
import path from 'node:path'
import { type TestContext, test } from 'node:test'

import type { BackupRecord } from '#src/domain/backup-record.ts'
import { type AgentHome, type AgentProcess, agentHome, startAgent } from '../support/agent.ts'
import { aContext } from '../support/builders.ts'
import { eventually } from '../support/rabbit.ts'
import { type RabbitVhost, rabbitVhost } from '../support/rabbit-vhost.ts'
import { runsOf } from '../support/runs.ts'
import { recordFor, startScheduler } from '../support/scheduler.ts'
import { type Heard, type SteadyPeer, steadyPeer } from '../support/steady-peer.ts'
import { diskBytes } from '../support/volume-data.ts'
import { storedFiles, volumeWith } from '../support/volume-files.ts'

const kibibyte = 1024

type Host = { readonly home: AgentHome; readonly agent: AgentProcess }

type Scene = {
  readonly vhost: RabbitVhost
  readonly peer: SteadyPeer
  readonly hosts: readonly [Host, Host]
  readonly newRecord: (sizeBytes: number) => Promise<BackupRecord>
}

/** Two agents that share volumes and store, each with its own pace. */
async function twoAgents(
  t: TestContext,
  jobsMax: number,
  requestsMax: readonly [number, number],
): Promise<Scene> {
  const vhost = await rabbitVhost(t)
  const peer = await steadyPeer(t, vhost.amqpUrl)
  const first = await agentHome(t, vhost.transportUrl, settings(jobsMax, requestsMax[0]))
  const second = await agentHome(t, vhost.transportUrl, {
    DEFAULT: { ...chunks, backup_posix_path: first.store },
    cinder_backup_agent: {
      jobs_max: jobsMax,
      requests_max: requestsMax[1],
      volume_paths: path.join(first.volumes, 'volume-{volume_id}'),
    },
  })
  const hosts = await Promise.all([first, second].map((home) => hostOf(t, home)))
  let count = 0
  return {
    vhost,
    peer,
    hosts: hosts as [Host, Host],
    async newRecord(sizeBytes) {
      count += 1
      const volumeId = await volumeWith(first, diskBytes(`two agents ${count}`, sizeBytes))
      return recordFor(volumeId, aContext())
    },
  }
}

const chunks = { backup_file_size: 256 * kibibyte, backup_sha_block_size_bytes: 32 * kibibyte }

const settings = (jobsMax: number, requestsMax: number) => ({
  DEFAULT: chunks,
  cinder_backup_agent: { jobs_max: jobsMax, requests_max: requestsMax },
})

async function hostOf(t: TestContext, home: AgentHome): Promise<Host> {
  return { home, agent: await startAgent(t, home) }
}

const recordOf = ({ payload }: Heard) => payload['record'] as BackupRecord

function started(peer: SteadyPeer, { id }: BackupRecord): Promise<Heard> {
  return peer.hears(
    `the start of ${id}`,
    ({ eventType, payload }) => eventType === 'backup.create.start' && payload['backup_id'] === id,
  )
}

/** Gives work to the agents of `busy`, so that only the others take from the shared topic. */
async function keepBusy({ peer, vhost, newRecord }: Scene, { home }: Host): Promise<BackupRecord> {
  const record = await newRecord(8192 * kibibyte)
  await peer.cast('create', record, {}, home.host)
  const begun = recordOf(await started(peer, record))
  await eventually(async () => {
    const shared = (await vhost.queues()).find(({ name }) => name === 'cinder-backup')
    return shared?.consumers === 1
  }, 'the busy agent leaves the shared topic')
  return begun
}

test('forty requests on the bare topic run once each, and both agents are busy', async (t) => {
  const { peer, hosts, newRecord } = await twoAgents(t, 2, [40, 40])
  const records: BackupRecord[] = []
  for (let count = 0; count < 40; count += 1) records.push(await newRecord(300 * kibibyte))
  for (const record of records) await peer.cast('create', record)
  for (const { id } of records) await peer.ended('create', id)

  const runs = runsOf(peer.heard)
  assert.equal(runs.length, 40)
  assert.equal(new Set(runs.map(({ backupId }) => backupId)).size, 40)
  const counts = hosts.map(
    ({ home }) => runs.filter(({ final }) => final.payload['host'] === home.host).length,
  )
  for (const { final } of runs) assert.equal(final.payload['status'], 'available')
  assert.ok(
    counts.every((count) => count >= 10),
    counts.join(' and '),
  )
  t.diagnostic(`${counts.join(' and ')} of 40 requests`)
})

test('an agent with as many jobs as it may have leaves the shared queue alone', async (t) => {
  const scene = await twoAgents(t, 2, [8, 8])
  const { peer, vhost, hosts, newRecord } = scene
  await hosts[1].agent.end('SIGTERM')
  const records = await Promise.all([1, 2, 3, 4, 5, 6].map(() => newRecord(300 * kibibyte)))
  for (const record of records) await peer.cast('create', record)
  let ended = 0
  let seen = ''
  await eventually(async () => {
    const queues = await vhost.queues()
    const queue = queues.find(({ name }) => name === 'cinder-backup')
    ended = peer.heard.filter(({ eventType }) => eventType === 'backup.create.end').length
    seen = JSON.stringify(queue)
    return queue?.consumers === 0 && queue.messages_unacknowledged === 0
  }, 'no consumer on the shared queue')
  const { messages_ready: ready } = JSON.parse(seen) as { messages_ready: number }
  assert.ok(ready >= 4 - ended - 2 && ready > 0, `${ended} ended, ${seen}`)

  for (const { id } of records) await peer.ended('create', id)
  assert.equal(runsOf(peer.heard).length, 6)
})

test('a cancel that is sent to the bare topic reaches the host that has the job', async (t) => {
  const scene = await twoAgents(t, 1, [3, 0])
  const [busy, free] = scene.hosts
  const begun = await keepBusy(scene, busy)
  const scheduler = await startScheduler(t, scene.vhost.transportUrl)

  const answer = await scheduler.ask('delete', begun)
  assert.deepEqual(answer, { accepted: true, backup_id: begun.id })
  const made = await scene.peer.ended('create', begun.id, 10)
  assert.equal(made.eventType, 'backup.create.end')
  assert.equal(made.payload['status'], 'deleting')
  const deleted = await scene.peer.ended('delete', begun.id)
  assert.equal(deleted.payload['status'], 'deleted')
  assert.equal(deleted.payload['host'], busy.home.host)
  assert.match(free.agent.log(), new RegExp(`cancel passed on.*${begun.id}`))
  assert.match(busy.agent.log(), new RegExp(`cancelling.*${begun.id}`))
  assert.deepEqual(await storedFiles(busy.home), [])
  assert.equal(runsOf(scene.peer.heard).length, 2)
})

test('a cancel for a host that is gone is done by whoever gets it, and leaves no object', async (t) => {
  const scene = await twoAgents(t, 1, [3, 0])
  const [lost, free] = scene.hosts
  const begun = await keepBusy(scene, lost)
  await eventually(
    async () => (await storedFiles(lost.home)).length > 2,
    'objects of the backup that is being made',
  )
  await lost.agent.end('SIGKILL')
  const { vhost } = scene
  await vhost.ctl('delete_queue', '--vhost', vhost.name, `cinder-backup.${lost.home.host}`)

  await scene.peer.cast('delete', begun)
  const { payload } = await scene.peer.ended('delete', begun.id)
  assert.equal(payload['status'], 'deleted')
  assert.match(free.agent.log(), /cancel done here: the host that has the backup takes no messages/)
  // What the killed agent had not finished is no object: it has a hidden name, and is its own to remove.
  const objects = (await storedFiles(lost.home)).filter((file) => !/(^|\/)\.[^/]*$/.test(file))
  assert.deepEqual(objects, [])
})

test('a cancel that was passed on already goes no further', async (t) => {
  const scene = await twoAgents(t, 2, [0, 0])
  const record = await scene.newRecord(300 * kibibyte)
  const never = { ...record, host: 'no-such-host' }
  await scene.peer.cast('delete', never, { passed_on: true })
  const { payload } = await scene.peer.ended('delete', record.id)
  assert.equal(payload['status'], 'deleted')
  for (const { agent } of scene.hosts) assert.doesNotMatch(agent.log(), /passed on|done here/)
})

test('what a gone agent had promised is done once it is back, and by nobody else', async (t) => {
  const scene = await twoAgents(t, 1, [9, 0])
  const [lost] = scene.hosts
  const begun = await keepBusy(scene, lost)
  await lost.agent.end('SIGKILL')
  const other = await scene.newRecord(300 * kibibyte)
  await scene.peer.cast('create', other)
  await scene.peer.ended('create', other.id)
  await startAgent(t, lost.home)
  const { payload } = await scene.peer.ended('create', begun.id)
  assert.equal(payload['host'], lost.home.host)
  assert.equal(runsOf(scene.peer.heard).length, 2)
})
