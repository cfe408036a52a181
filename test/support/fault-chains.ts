// Jobs on a Swift and a Keystone that fail at random: what they may end with, and what must then be there.

import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'

import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { Operation } from '#src/domain/job.ts'
import type { JsonObject } from '#src/domain/json.ts'
import { metadataName, sha256fileName } from '#src/domain/object-names.ts'
import { type DrivenAgent, drivenAgent } from './driven-agent.ts'
import { type FaultProxy, faultProxy } from './fault-proxy.ts'
import { type FaultSchedule, faultSchedule } from './fault-schedule.ts'
import { keystoneToken } from './keystone.ts'
import { services } from './services.ts'
import { times } from './soak.ts'
import { keystoneAccess, type SwiftContainer, swiftContainer } from './stores.ts'
import { byPassword, contextOf, swiftSettings } from './swift-agent.ts'
import { changedBytes, diskBytes, noise, sha256 } from './volume-data.ts'

const kibibyte = 1024
const chunkBytes = 64 * kibibyte
const volumeBytes = 8 * chunkBytes - 11

/** What a job may end with when a store fails as these schedules make it fail. */
const reasons = [
  'STORE_UNAVAILABLE',
  'IDENTITY_UNAVAILABLE',
  'STORE_REFUSED',
  'STORE_FORBIDDEN',
  'STORE_FULL',
  'OBJECT_TOO_LARGE',
  'UPLOAD_CORRUPT',
  'DOWNLOAD_CORRUPT',
  'TOKEN_EXPIRED',
]

const nothing = async (): Promise<JsonObject> => ({})

/** How often something is asked for again that ended with its reason. */
const asksMax = 40
/** A black hole is left after a minute, and a job may meet several. */
const patienceMs = times(60_000, 600_000)

export type FaultScene = {
  readonly agent: DrivenAgent
  readonly container: SwiftContainer
  readonly swift: FaultProxy
  readonly schedules: readonly FaultSchedule[]
  /** Jobs by how they ended. */
  readonly ends: Map<string, number>
}

/** An agent with proxies before Swift and Keystone, which let everything pass until they are told otherwise. */
export async function faultScene(
  t: TestContext,
  seed: string,
  jobsMax: number,
): Promise<FaultScene> {
  const real = services()
  const isPatient = times(0, 1) === 1
  const swift = await faultProxy(t, real.swift.url)
  const keystone = await faultProxy(t, new URL(real.keystone.url).origin)
  const ofSwift = faultSchedule({ seed, rate: 0, isPatient, server: 'swift' })
  const ofKeystone = faultSchedule({
    seed: `${seed} keystone`,
    ...{ rate: 0, isPatient, server: 'keystone' },
  })
  // The catalogue of each login names the store: here, the proxy in front of it.
  const change = (text: string) => text.replaceAll(real.swift.url, swift.origin)
  swift.follow(ofSwift.decide)
  keystone.follow((request) => ofKeystone.decide(request) ?? { kind: 'change-body', change })

  const container = await swiftContainer(t, () => keystoneAccess('backup'))
  const options = {
    ...byPassword(),
    backup_swift_auth_url: keystone.inFrontOf(real.keystone.url),
    backup_swift_container: container.name,
    backup_swift_object_size: chunkBytes,
    backup_swift_block_size: 16 * kibibyte,
    backup_swift_retry_backoff: 0,
    backup_swift_retry_attempts: 4,
  }
  const more = { cinder_backup_agent: { retry_budget: 0, jobs_max: jobsMax } }
  const context = contextOf(await keystoneToken('demo'))
  const agent = await drivenAgent(t, swiftSettings(options, more), context)
  return { agent, container, swift, schedules: [ofSwift, ofKeystone], ends: new Map() }
}

export const faultsOf = ({ schedules }: FaultScene) =>
  schedules.reduce((sum, schedule) => sum + schedule.total(), 0)

/** Asks until it ends well; whatever else it ends with has its reason. Resolves to the record. */
async function untilDone(
  scene: FaultScene,
  operation: Operation,
  record: () => BackupRecord,
  extra: () => Promise<JsonObject>,
): Promise<BackupRecord> {
  const { agent, ends } = scene
  for (let ask = 0; ask < asksMax; ask += 1) {
    const asked = record()
    await agent.scheduler.ask(operation, asked, await extra())
    const { eventType, payload } = await agent.scheduler.ended(operation, asked.id, patienceMs)
    const code = eventType.endsWith('.end') ? 'well' : String(payload['code'])
    const how = `${operation} ended ${code}`
    ends.set(how, (ends.get(how) ?? 0) + 1)
    if (code === 'well') return agent.scheduler.recordOf(asked.id)
    assert.ok(reasons.includes(code), `${operation}: ${code}: ${payload['message']}`)
    assert.ok(String(payload['message']).length > 20, 'the reason says what happened')
    const status = operation === 'restore' ? 'available' : operation === 'create' ? 'error' : null
    if (status !== null) assert.equal(payload['status'], status)
    if (operation !== 'create') continue
    await untilDone(scene, 'delete', () => agent.scheduler.recordOf(asked.id), nothing)
  }
  throw new Error(`${operation} did not end well in ${asksMax} runs`)
}

async function backedUp(
  scene: FaultScene,
  volumeId: string,
  fields: Partial<BackupRecord> = {},
): Promise<BackupRecord> {
  const { agent, container } = scene
  const record = await untilDone(
    scene,
    'create',
    () => agent.asked(volumeId, { container: container.name, ...fields }),
    nothing,
  )
  assert.equal(record.status, 'available')
  await assertNoStrays(scene, record)
  return record
}

/** Where a backup is called good, what lies under its prefix is what its metadata names. */
async function assertNoStrays({ container }: FaultScene, record: BackupRecord): Promise<void> {
  const prefix = record.service_metadata ?? ''
  const text = Buffer.from(await container.get(metadataName(prefix))).toString('utf8')
  const { objects } = JSON.parse(text) as { objects: readonly JsonObject[] }
  const named = objects.flatMap((one) => Object.keys(one))
  const listed = (await container.list(prefix)).map(({ name }) => name)
  const expected = [...named, metadataName(prefix), sha256fileName(prefix)]
  assert.deepEqual(listed.sort(), expected.sort(), `objects of backup ${record.id}`)
}

/** Restores until it ends well, onto a dirty volume each time, and compares. */
async function assertRestores(
  scene: FaultScene,
  record: BackupRecord,
  bytes: Buffer,
): Promise<void> {
  const { agent } = scene
  let target = ''
  await untilDone(
    scene,
    'restore',
    () => record,
    async () => {
      target = await agent.newVolume(noise(`dirt ${record.id}`, bytes.length))
      return { volume_id: target }
    },
  )
  assert.equal(sha256(await agent.readVolume(target)), sha256(bytes), `backup ${record.id}`)
}

/** A full backup, an increment on it, both restored, both deleted. */
export async function faultyChain(scene: FaultScene, seed: string): Promise<void> {
  const { agent, container } = scene
  const before = diskBytes(seed, volumeBytes)
  const after = changedBytes(before, seed)
  const volumeId = await agent.newVolume(before)
  const full = await backedUp(scene, volumeId)
  await agent.writeVolume(volumeId, after)
  const increment = await backedUp(scene, volumeId, { parent_id: full.id })
  await assertRestores(scene, increment, after)
  await assertRestores(scene, full, before)
  for (const record of [increment, full]) {
    await untilDone(scene, 'delete', () => agent.scheduler.recordOf(record.id), nothing)
  }
  assert.deepEqual(await container.list(`volume_${volumeId}`), [], 'nothing is left of a chain')
}
