// The store answers wrongly, late or not at all: the agent tries again, or says what happened.

import assert from 'node:assert/strict'
import { mkdir, rename } from 'node:fs/promises'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import type { AgentSettings } from '../support/agent.ts'
import { doorTo } from '../support/door.ts'
import { chunkBytes, type DrivenAgent, drivenAgent } from '../support/driven-agent.ts'
import { type FaultProxy, faultProxy } from '../support/fault-proxy.ts'
import { assertServes } from '../support/good-message.ts'
import { keystoneToken } from '../support/keystone.ts'
import { services } from '../support/services.ts'
import { smallDisk } from '../support/small-disk.ts'
import { times } from '../support/soak.ts'
import { type SwiftContainer, swiftContainer } from '../support/stores.ts'
import { contextOf, swiftSettings } from '../support/swift-agent.ts'
import { diskBytes, noise, sha256 } from '../support/volume-data.ts'
import { storedFiles } from '../support/volume-files.ts'

const source = diskBytes('store faults', 8 * chunkBytes)

type Scene = { readonly agent: DrivenAgent; readonly container: SwiftContainer }

/** An agent that finds the real Swift at `origin`. */
async function swiftAt(
  t: TestContext,
  origin: string,
  options: Readonly<Record<string, number>> = {},
  more: AgentSettings = {},
): Promise<Scene> {
  const user = await keystoneToken('demo')
  const container = await swiftContainer(t, async () => ({ url: user.swiftUrl, token: user.token }))
  const settings = swiftSettings(
    {
      backup_swift_url: `${origin}/v1/AUTH_`,
      backup_swift_container: container.name,
      backup_swift_retry_backoff: 1,
      ...options,
    },
    more,
  )
  return { agent: await drivenAgent(t, settings, contextOf(user)), container }
}

/** Retries that the log tells of. */
const retries = ({ agent }: DrivenAgent): number =>
  agent.log().split('store call failed, trying again').length - 1

const backupFaults: readonly (readonly [string, (proxy: FaultProxy) => void, number])[] = [
  [
    'a burst of 503',
    (p) => p.inject({ kind: 'answer', status: 503 }, { method: 'PUT', times: 6 }),
    6,
  ],
  [
    '429 with Retry-After',
    (p) =>
      p.inject(
        { kind: 'answer', status: 429, headers: { 'retry-after': '1' } },
        { method: 'PUT', path: /-0000[12]$/, times: 2 },
      ),
    2,
  ],
  [
    'connections that break in an upload',
    (p) =>
      p.inject(
        { kind: 'cut-request', afterBytes: 1000 },
        { method: 'PUT', path: /-0000/, times: 3 },
      ),
    3,
  ],
  [
    'an answer that is lost after the object was stored',
    (p) =>
      p.inject({ kind: 'lose-answer' }, { method: 'PUT', path: /-00002$|_metadata$/, times: 2 }),
    2,
  ],
  [
    'a digest that is wrong once',
    (p) =>
      p.inject(
        { kind: 'change-headers', headers: { etag: 'd41d8cd98f00b204e9800998ecf8427e' } },
        { method: 'PUT', path: /-00003$/ },
      ),
    1,
  ],
  [
    'a bit that flips on the way up',
    (p) => p.inject({ kind: 'flip-request', atByte: 500 }, { method: 'PUT', path: /-00001$/ }),
    1,
  ],
]

for (const [fault, inject, retriesMin] of backupFaults) {
  test(`a backup outlives ${fault}`, async (t) => {
    const proxy = await faultProxy(t, services().swift.url)
    const { agent, container } = await swiftAt(t, proxy.origin)
    const volumeId = await agent.newVolume(source)
    inject(proxy)
    const record = await agent.backup(volumeId)
    assert.ok(retries(agent) >= retriesMin, `${retries(agent)} retries`)
    assert.equal((await container.list()).length, record.object_count + 2)
    const restored = await agent.restore(record, noise('dirt', source.length))
    assert.equal(sha256(restored), sha256(source))
  })
}

const chunkGet = { method: 'GET', path: /-0000\d$/ } as const

test('a restore outlives 503, cut and shortened answers, and bits that flip on the way', async (t) => {
  const proxy = await faultProxy(t, services().swift.url)
  const { agent } = await swiftAt(t, proxy.origin)
  const record = await agent.backup(await agent.newVolume(source))
  proxy.inject({ kind: 'answer', status: 503 }, { ...chunkGet, times: 3 })
  proxy.inject({ kind: 'cut-answer', afterBytes: 5000 }, { ...chunkGet, times: 2 })
  proxy.inject({ kind: 'flip-answer', atByte: 300 }, { ...chunkGet, times: 2 })
  proxy.inject({ kind: 'shorten-answer', toBytes: 2000 }, { method: 'GET', path: /_metadata$/ })
  const restored = await agent.restore(record, noise('dirt', source.length))
  assert.equal(sha256(restored), sha256(source))
  // A bit that flips is seen by the sha256file, and the object fetched once more: no call has failed.
  assert.ok(retries(agent) >= 6)
})

test('a store that goes on failing ends the job with its last answer, and the agent goes on', async (t) => {
  const proxy = await faultProxy(t, services().swift.url)
  const scene = await swiftAt(
    t,
    proxy.origin,
    { backup_swift_retry_attempts: 1 },
    { cinder_backup_agent: { retry_budget: 1 } },
  )
  const { agent } = scene
  let isAway = true
  proxy.inject(
    { kind: 'answer', status: 503, body: 'under repair' },
    { method: 'PUT', path: /-0000/, where: () => isAway, times: 'always' },
  )
  const asked = agent.asked(await agent.newVolume(source))
  const { eventType, payload } = await agent.scheduler.run('create', asked)
  assert.equal(eventType, 'backup.create.error')
  assert.equal(payload['code'], 'STORE_UNAVAILABLE')
  assert.match(String(payload['message']), /503.*at the last of \d+ tries/)
  assert.equal(payload['status'], 'error')
  isAway = false
  await assertServes(agent)
  await agent.runWell('delete', agent.scheduler.recordOf(asked.id))
  const left = (await scene.container.list()).filter(({ name }) => name.includes(asked.id))
  assert.deepEqual(left, [])
})

test('a Swift that is away at the start is waited for, and told of without a flood', async (t) => {
  const door = await doorTo(t, services().swift.url)
  const { agent } = await swiftAt(t, door.origin)
  const asked = agent.asked(await agent.newVolume(source))
  await agent.scheduler.ask('create', asked)
  await agent.agent.logged(/the store does not answer, asking on.*ECONNREFUSED/)
  const seconds = times(3, 60)
  await sleep(seconds * 1000)
  assert.equal(agent.agent.exitCode, null)
  const told = agent.agent
    .log()
    .split('\n')
    .filter((line) => /WARNING|ERROR/.test(line))
  assert.ok(told.length <= 12, `${told.length} lines in ${seconds} s:\n${told.join('\n')}`)
  await door.open()
  assert.equal((await agent.scheduler.ended('create', asked.id)).payload['status'], 'available')
  t.diagnostic(`${told.length} lines of the log in ${seconds} s`)
})

test('a Swift that goes away in mid-backup and comes back costs nothing', async (t) => {
  const door = await doorTo(t, services().swift.url)
  await door.open()
  const { agent } = await swiftAt(t, door.origin, {}, { cinder_backup_agent: { requests_max: 6 } })
  const asked = agent.asked(await agent.newVolume(source))
  await agent.scheduler.ask('create', asked)
  await agent.agent.logged(/create started/)
  await sleep(1000)
  await door.shut()
  await agent.agent.logged(/store call failed, trying again/)
  await sleep(1000)
  await door.open()
  assert.equal((await agent.scheduler.ended('create', asked.id)).payload['status'], 'available')
  const record = agent.scheduler.recordOf(asked.id)
  assert.equal(sha256(await agent.restore(record, noise('x', source.length))), sha256(source))
})

test('a delete whose listing fails keeps the record, and can be asked for again', async (t) => {
  const proxy = await faultProxy(t, services().swift.url)
  const { agent, container } = await swiftAt(
    t,
    proxy.origin,
    { backup_swift_retry_attempts: 1 },
    { cinder_backup_agent: { retry_budget: 1 } },
  )
  const record = await agent.backup(await agent.newVolume(source))
  const objects = (await container.list()).length
  let isBroken = true
  const listing = { method: 'GET', path: /[?&]prefix=/, where: () => isBroken }
  proxy.inject({ kind: 'answer', status: 500 }, { ...listing, times: 'always' })

  const { eventType, payload } = await agent.scheduler.run('delete', record)
  assert.equal(eventType, 'backup.delete.error')
  assert.equal(payload['code'], 'STORE_UNAVAILABLE')
  const kept = agent.scheduler.recordOf(record.id)
  assert.equal(kept.deleted, false)
  assert.equal(kept.service_metadata, record.service_metadata)
  assert.equal((await container.list()).length, objects)

  isBroken = false
  await agent.runWell('delete', kept)
  assert.deepEqual(await container.list(), [])
})

test('a store folder that is gone is no empty one: the delete fails, and can be asked for again', async (t) => {
  const agent = await drivenAgent(t, {
    DEFAULT: { backup_swift_retry_attempts: 1, backup_swift_retry_backoff: 1 },
    cinder_backup_agent: { retry_budget: 1 },
  })
  const { home, scheduler } = agent
  const record = await agent.backup(await agent.newVolume(source))
  await rename(home.store, `${home.store}-unmounted`)
  const { eventType, payload } = await scheduler.run('delete', record)
  assert.equal(eventType, 'backup.delete.error')
  assert.equal(payload['code'], 'STORE_UNAVAILABLE')
  assert.match(String(payload['message']), /there is no such folder; is it mounted\?/)
  await rename(`${home.store}-unmounted`, home.store)
  await agent.runWell('delete', scheduler.recordOf(record.id))
  assert.deepEqual(await storedFiles(home), [])
})

test('a delete that finds none of the objects of its record says so', async (t) => {
  const agent = await drivenAgent(t)
  const { home } = agent
  const record = await agent.backup(await agent.newVolume(source))
  await rename(home.store, `${home.store}-unmounted`)
  await mkdir(home.store) // As the folder under a mount is there, and empty.
  await agent.runWell('delete', record)
  await agent.agent.logged(/WARNING.*none of its objects was there.*object_count=8/)
})

test('a full store ends the backup with STORE_FULL, names it, and the agent goes on', async (t) => {
  const { folder } = await smallDisk(t, 1024)
  const agent = await drivenAgent(t, { DEFAULT: { backup_posix_path: folder } })
  const { scheduler } = agent
  const home = { ...agent.home, store: folder }
  const asked = agent.asked(await agent.newVolume(noise('too much', 8 * chunkBytes)))
  const { eventType, payload } = await scheduler.run('create', asked)
  assert.equal(eventType, 'backup.create.error')
  assert.equal(payload['code'], 'STORE_FULL')
  assert.match(String(payload['message']), /ENOSPC; free space under backup_posix_path/)
  assert.ok(String(payload['message']).includes(asked.id), String(payload['message']))
  assert.match(String(payload['fail_reason']), /^STORE_FULL: /)
  const hidden = (await storedFiles(home)).filter((file) => file.split('/').at(-1)?.startsWith('.'))
  assert.deepEqual(hidden, [], 'no half object')

  await agent.runWell('delete', scheduler.recordOf(asked.id))
  assert.deepEqual(await storedFiles(home), [])
  await assertServes(agent)
})

test('a full disk under the journal stops consuming, is told of, and heals by itself', async (t) => {
  const { agent, disk } = await agentOnSmallDisk(t)
  const { scheduler } = agent
  disk.fill()
  const from = agent.agent.log().length
  const records = await Promise.all(
    [1, 2, 3].map(async () => agent.asked(await agent.newVolume(noise('waits', 4096)))),
  )
  const answers = records.map((record) => scheduler.ask('create', record))
  await agent.agent.logged(/the journal cannot be written: no requests are taken/)
  await sleep(times(4000, 30_000))
  assert.equal(agent.agent.exitCode, null)
  const told = agent.agent
    .log()
    .slice(from)
    .split('\n')
    .filter((line) => /WARNING|ERROR/.test(line))
  assert.ok(told.length <= 6, told.join('\n'))

  await disk.free()
  assert.equal((await Promise.all(answers)).length, 3)
  for (const { id } of records) {
    assert.equal((await scheduler.ended('create', id)).payload['status'], 'available')
  }
  await agent.agent.logged(/the journal can be written again: requests are taken/)
  await assertServes(agent)
})

test('a job that ends while the journal is full waits with its outcome', async (t) => {
  const { agent, disk } = await agentOnSmallDisk(t, { requests_max: 8 })
  const { scheduler } = agent
  const asked = agent.asked(await agent.newVolume(noise('outcome', 12 * chunkBytes)))
  await scheduler.ask('create', asked)
  await agent.agent.logged(/create started/)
  await sleep(500)
  const from = agent.agent.log().length
  disk.fill()
  await agent.agent.logged(/create ended/)
  await agent.agent.logged(/waiting for the journal/)
  await sleep(3000)
  const told = agent.agent
    .log()
    .slice(from)
    .split('\n')
    .filter((line) => /WARNING|ERROR/.test(line))
  assert.ok(told.length <= 6, told.join('\n'))
  const isEnd = ({ eventType }: { eventType: string }) => /\.(end|error)$/.test(eventType)
  assert.ok(!scheduler.events.some(isEnd), 'an outcome that is nowhere written was told')
  await disk.free()
  assert.equal((await scheduler.ended('create', asked.id)).payload['status'], 'available')
})

/** An agent whose journal has hardly any room. */
async function agentOnSmallDisk(t: TestContext, options: Readonly<Record<string, number>> = {}) {
  const disk = await smallDisk(t, 2048)
  const agent = await drivenAgent(t, {
    cinder_backup_agent: { state_dir: disk.folder, ...options },
  })
  return { agent, disk }
}
