// The agent is killed in mid-work: what was done stays done, and only what was in flight is done again.

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { Operation } from '#src/domain/job.ts'
import type { JsonObject } from '#src/domain/json.ts'
import { type AgentHome, type AgentProcess, agentHome, spawnAgent } from '../support/agent.ts'
import { countingProxy } from '../support/counting-proxy.ts'
import { keystoneToken } from '../support/keystone.ts'
import { rabbitVhost } from '../support/rabbit-vhost.ts'
import { recordFor } from '../support/scheduler.ts'
import { services } from '../support/services.ts'
import { times } from '../support/soak.ts'
import { steadyPeer } from '../support/steady-peer.ts'
import { swiftContainer } from '../support/stores.ts'
import { contextOf, swiftSettings } from '../support/swift-agent.ts'
import { diskBytes, noise } from '../support/volume-data.ts'
import { randomOf, sha256Of, testSeed, volumeFile, volumeWith } from '../support/volume-files.ts'

const chunkBytes = 262_144
const chunkCount = 64
const volumeBytes = chunkCount * chunkBytes
const uploadsMax = 4

/** What may have been in flight at a kill, or done and not noted yet. */
const inFlightBytes = (uploadsMax + 1) * chunkBytes

/** An agent with a real Swift behind a proxy that counts, slowed so that a kill finds it at work. */
async function scene(t: TestContext, bandwidthMax: number) {
  const proxy = await countingProxy(t, services().swift.url)
  const user = await keystoneToken('demo')
  const access = { url: user.swiftUrl, token: user.token }
  const container = await swiftContainer(t, async () => access)
  const vhost = await rabbitVhost(t)
  const home = await agentHome(
    t,
    vhost.transportUrl,
    swiftSettings(
      {
        backup_swift_url: `${proxy.origin}/v1/AUTH_`,
        backup_swift_container: container.name,
        backup_swift_object_size: chunkBytes,
        backup_swift_block_size: 32_768,
        backup_compression_algorithm: 'zlib',
      },
      { cinder_backup_agent: { uploads_max: uploadsMax, bandwidth_max: bandwidthMax } },
    ),
  )
  const context = contextOf(user)
  const peer = await steadyPeer(t, vhost.amqpUrl, { context })
  return { ...proxy, container, home, peer, context }
}

type Scene = Awaited<ReturnType<typeof scene>>

/** The agent that lives now; killed and started anew as the test goes on. */
class Lives {
  readonly #t: TestContext
  readonly #home: AgentHome
  #agent: AgentProcess | null = null
  readonly kills: Record<Operation, number> = {
    ...{ create: 0, restore: 0, delete: 0 },
    ...{ import: 0, reset_status: 0 },
  }
  /** Kills of a start that was going on with a job. */
  killsInRecovery = 0

  constructor(t: TestContext, home: AgentHome) {
    this.#t = t
    this.#home = home
  }

  async start(): Promise<void> {
    this.#agent = spawnAgent(this.#t, this.#home)
    await this.#agent.logged(/\bserving\b/)
  }

  async kill(during: Operation): Promise<void> {
    await this.#agent?.end('SIGKILL')
    this.kills[during] += 1
  }
}

/** Runs an operation and kills the agent in the middle of it, now and then again while it recovers. */
async function killedInMidst(
  { peer }: Scene,
  lives: Lives,
  random: () => number,
  asked: { operation: Operation; record: BackupRecord; extra?: JsonObject; spanMs: number },
): Promise<JsonObject> {
  const { operation, record, extra, spanMs } = asked
  await peer.cast(operation, record, extra)
  const already = peer.heard.length
  await peer.hears(
    `the start of the ${operation} of ${record.id}`,
    ({ eventType, payload }) =>
      eventType === `backup.${operation}.start` && payload['backup_id'] === record.id,
  )
  await sleep(random() * spanMs)
  await lives.kill(operation)
  if (random() < 0.1) {
    await lives.start()
    await sleep(random() * 400)
    await lives.kill(operation)
    lives.killsInRecovery += 1
  }
  await lives.start()
  const isEnd = new RegExp(`^backup\\.${operation}\\.(end|error)$`)
  const final = await peer.hears(
    `the end of the ${operation} of ${record.id}`,
    (event) =>
      isEnd.test(event.eventType) &&
      event.payload['backup_id'] === record.id &&
      peer.heard.indexOf(event) >= already,
    120,
  )
  assert.equal(final.eventType, `backup.${operation}.end`, JSON.stringify(final.payload['message']))
  return final.payload
}

/** Nothing lies under the backup's prefix but what its metadata names. */
async function assertOnlyNamed({ container }: Scene, record: BackupRecord): Promise<number> {
  const prefix = record.service_metadata ?? ''
  const entries = await container.list(prefix)
  const metadata = JSON.parse(Buffer.from(await container.get(`${prefix}_metadata`)).toString())
  const named = (metadata.objects as object[]).flatMap((one) => Object.keys(one))
  const closing = [`${prefix}_metadata`, `${prefix}_sha256file`]
  const names = entries.map(({ name }) => name)
  assert.deepEqual(names.toSorted(), [...named, ...closing].toSorted())
  return entries.filter(({ name }) => /-\d+$/.test(name)).reduce((sum, { bytes }) => sum + bytes, 0)
}

function told(t: TestContext, what: Operation, moved: number, needed: number, lives: Lives): void {
  const kills = lives.kills[what]
  const allowed = needed + kills * inFlightBytes
  t.diagnostic(
    `${what}: ${kills} kills (${lives.killsInRecovery} of all in recovery); ` +
      `${moved} bytes moved, ${needed} needed, ${allowed} allowed`,
  )
  assert.ok(moved <= allowed, `${what}: ${moved} bytes moved, ${allowed} allowed`)
}

test('a backup and a restore that are killed go on with what is not done yet', async (t) => {
  const seed = testSeed(t)
  const random = randomOf(seed)
  const at = await scene(t, 12 * 1_048_576)
  const lives = new Lives(t, at.home)
  let storedBytes = 0
  let fetchedBytes = 0
  let neededBytes = 0
  let chainBytes = 0
  let parent: BackupRecord | null = null
  const bytes = Buffer.from(diskBytes(seed, volumeBytes))
  const volumeId = await volumeWith(at.home, bytes)
  await lives.start()

  const rounds = times(3, 100)
  for (let round = 0; round < rounds; round += 1) {
    const isFull = parent === null || round % 3 === 0
    for (let block = round % 4; block < volumeBytes / 32_768; block += 4) {
      noise(`${seed} ${round} ${block}`, 500).copy(bytes, block * 32_768)
    }
    await writeFile(volumeFile(at.home, volumeId), bytes)
    const fields = { container: at.container.name, parent_id: isFull ? null : parent?.id }
    const asked = recordFor(volumeId, at.context, fields as Partial<BackupRecord>)
    const made = await killedInMidst(at, lives, random, {
      ...{ operation: 'create', record: asked, spanMs: 1200 },
    })
    const record = made['record'] as unknown as BackupRecord
    assert.equal(record.status, 'available')
    const ownBytes = await assertOnlyNamed(at, record)
    storedBytes += ownBytes
    chainBytes = isFull ? ownBytes : chainBytes + ownBytes
    neededBytes += chainBytes // The most that the chain has to be fetched for.
    parent = record

    const before = at.traffic.gotBytes
    const dirty = await volumeWith(at.home, Buffer.alloc(volumeBytes, 0xd1))
    await killedInMidst(at, lives, random, {
      ...{ operation: 'restore', record, extra: { volume_id: dirty }, spanMs: 1000 },
    })
    const wanted = await sha256Of(volumeFile(at.home, volumeId))
    assert.equal(await sha256Of(volumeFile(at.home, dirty)), wanted, `round ${round}`)
    fetchedBytes += at.traffic.gotBytes - before
  }

  told(t, 'create', at.traffic.putBytes, storedBytes, lives)
  told(t, 'restore', fetchedBytes, neededBytes, lives)
})

test('a delete that is killed goes on to its end', async (t) => {
  const seed = testSeed(t)
  const random = randomOf(seed)
  const at = await scene(t, 0)
  const lives = new Lives(t, at.home)
  await lives.start()
  const volumeId = await volumeWith(at.home, diskBytes(seed, volumeBytes))

  for (let round = 0; round < times(2, 50); round += 1) {
    const asked = recordFor(volumeId, at.context, { container: at.container.name })
    await at.peer.cast('create', asked)
    const made = (await at.peer.ended('create', asked.id)).payload['record']
    const record = made as unknown as BackupRecord
    await killedInMidst(at, lives, random, { operation: 'delete', record, spanMs: 300 })
    assert.deepEqual(await at.container.list(), [])
  }
  t.diagnostic(`${lives.kills.delete} kills, ${lives.killsInRecovery} of them in recovery`)
})
