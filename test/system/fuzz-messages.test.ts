// Messages of every kind that a stranger may think of, to the whole agent in this process: each is served or
// refused at once, none reaches what it has no business with, and the good ones between them are served.

import assert from 'node:assert/strict'
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'

import { pathVolumes } from '#src/adapters/volumes/path-volumes.ts'
import { aRecord } from '../support/builders.ts'
import { never } from '../support/chains.ts'
import { goldenChain, storeGolden } from '../support/golden.ts'
import { isPolluted } from '../support/hostile-json.ts'
import {
  deliveryOf,
  goodDelivery,
  hostileMessage,
  secretCanary,
  type Targets,
} from '../support/hostile-messages.ts'
import { assertNoFaults, jobWatch } from '../support/job-watch.ts'
import { type MemoryAgent, memoryAgent } from '../support/memory-agent.ts'
import { ownTime } from '../support/own-time.ts'
import { times } from '../support/soak.ts'
import { diskBytes } from '../support/volume-data.ts'
import { testSeed } from '../support/volume-files.ts'

const patienceMs = 1000
/** So many messages come between two that must be served. */
const between = 100
const volumeBytes = 24 * 1024
const messageBytesMax = 4 * 2 ** 20

const folder = await realpath(await mkdtemp(path.join(tmpdir(), 'cba-fuzz-')))
after(() => rm(folder, { recursive: true }))

const uuidOf = (number: number) => `0000000${number}-aaaa-4bbb-8ccc-0123456789ab`
const secretFile = path.join(folder, 'secret')
const root = path.join(folder, 'volumes')

/** Volumes to back up and to restore onto, and links that lead out of their folder. */
async function makeTargets(): Promise<Targets> {
  await mkdir(root)
  await writeFile(secretFile, 'secret-canary '.repeat(1000))
  const volumes = [1, 2, 3, 4].map(uuidOf)
  const goldenBytes = goldenChain('none').volume_bytes
  for (const [index, id] of volumes.entries()) {
    const bytes = diskBytes(id, index === 0 ? volumeBytes : goldenBytes)
    await writeFile(path.join(root, `volume-${id}`), bytes)
  }
  const traps = [5, 6, 7].map(uuidOf)
  const [toFile = '', toFolder = '', toZero = ''] = traps
  await symlink(secretFile, path.join(root, `volume-${toFile}`))
  await symlink('/etc', path.join(root, `volume-${toFolder}`))
  await symlink('/dev/zero', path.join(root, `volume-${toZero}`))
  const [id, volume_id] = [uuidOf(8), uuidOf(9)]
  const service_metadata = `volume_${volume_id}/20260101000000/az_nova_backup_${id}`
  const fields = { service_metadata, container: 'volumebackups', project_id: 'of-somebody-else' }
  const victim = aRecord({ id, volume_id, ...fields, status: 'available' })
  return { volumes, traps, victim }
}

const targets = await makeTargets()
const watch = jobWatch(root)
const volumes = pathVolumes({
  volumePaths: [path.join(root, 'volume-{volume_id}')],
  snapshotPaths: [path.join(root, 'snapshot-{snapshot_id}')],
  volumeRoots: [],
})
const agent = await memoryAgent({ after }, { volumes, messageBytesMax, watch: watch.watch })
const victimPlace = { container: 'volumebackups', name: `${targets.victim.service_metadata}-00001` }

async function fillStore({ store }: MemoryAgent): Promise<void> {
  for (const codec of ['none', 'zlib'] as const) await storeGolden(goldenChain(codec), store, never)
  await store.ensureContainer(victimPlace.container, never)
  await store.putObject(victimPlace, Buffer.from('of somebody else'), never)
}

/** The delivery is settled within a second; resolves to how, and to how long that took. */
async function settle(incoming: Parameters<MemoryAgent['take']>[0]) {
  const passedMs = ownTime()
  const settlement = await agent.take(incoming)
  const tookMs = passedMs()
  assert.ok(tookMs < patienceMs, `${Math.round(tookMs)} ms for ${settlement}`)
  return { settlement, tookMs }
}

/**
 * Once the jobs of others have ended. Resolves to how long it took from the delivery to the event of its
 * end, in milliseconds.
 */
async function servesGood(): Promise<number> {
  await agent.idle(30)
  const passedMs = ownTime()
  const { id, incoming } = goodDelivery(targets.volumes[0] ?? '')
  assert.equal((await settle(incoming)).settlement, 'ack')
  let event = agent.ended(id)
  while (event === null) {
    assert.ok(passedMs() < patienceMs, 'a good message is served within a second')
    await sleep(2)
    event = agent.ended(id)
  }
  assert.equal(event.eventType, 'backup.create.end', JSON.stringify(event.payload))
  return passedMs()
}

test('whatever a message says, it is settled within a second, and harms nobody', async (t) => {
  const numRuns = times(2000, 100_000)
  const seed = Number(testSeed(t))
  const tally: Record<string, number> = {}
  const worst = { taken: 0, served: 0 }
  let count = 0
  await fc.assert(
    fc.asyncProperty(hostileMessage(targets), async (message) => {
      if (count % between === 0) {
        await fillStore(agent)
        worst.served = Math.max(worst.served, await servesGood())
        if (count % (10 * between) === 0) agent.forget()
      }
      count += 1
      const { settlement, tookMs } = await settle(deliveryOf(message, targets))
      tally[settlement] = (tally[settlement] ?? 0) + 1
      worst.taken = Math.max(worst.taken, tookMs)
      assert.ok(settlement === 'ack' || settlement === 'reject', settlement)
      assert.ok(!isPolluted(), 'no object of the process got a property')
      await agent.idle(30, 24)
      assertNoFaults(watch)
    }),
    { seed, numRuns, endOnFailure: true },
  )
  await agent.idle(60)
  assertNoFaults(watch)
  await servesGood()
  const { calls, opens } = watch.counts
  t.diagnostic(`${count} messages: ${JSON.stringify(tally)}, ${calls} store calls, ${opens} opens`)
  const [taken, served] = [worst.taken, worst.served].map(Math.round)
  const rssMib = Math.round(process.memoryUsage.rss() / 2 ** 20)
  t.diagnostic(`settled in ${taken} ms and served in ${served} ms at worst; RSS ${rssMib} MiB`)
  assert.ok(calls > numRuns / 2 && opens > numRuns / 100, 'many of them got as far as the store')
})

test('of all these nothing reached the objects of somebody else', async () => {
  const pieces: Uint8Array[] = []
  const sink = { start: () => undefined, write: (piece: Uint8Array) => void pieces.push(piece) }
  await agent.store.getObject(victimPlace, sink, never)
  assert.equal(String(Buffer.concat(pieces)), 'of somebody else')
})

test('every record of the log is one line of printable characters, without a secret', () => {
  const lines = agent.logText().split('\n').slice(0, -1)
  const secret = new RegExp(`${secretCanary}[0-9a-f]`)
  assert.ok(lines.length > 1000)
  for (const line of lines) {
    assert.match(line, /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \d+ [A-Z]+ cinder_backup_agent \[/)
    assert.doesNotMatch(line, /[\p{Cc}\p{Cs}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u)
    // What comes behind it is the secret; a sender may have put it into any field.
    assert.doesNotMatch(line, secret)
    assert.ok(line.length <= 16_384)
  }
})

test('no message was taken for a defect of ours', () => {
  const defects = agent.logText().match(/^.*(?:ASSERTION_FAILED|left by a defect).*$/gm) ?? []
  assert.deepEqual(defects.slice(0, 3), [])
})
