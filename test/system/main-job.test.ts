import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'

import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { JsonObject } from '#src/domain/json.ts'
import { chunkBytes, drivenAgent, wholeFile } from '../support/driven-agent.ts'
import { changedBytes, diskBytes, noise, sha256 } from '../support/volume-data.ts'

const agent = await drivenAgent(wholeFile)

const oddBytes = 6 * chunkBytes + 3 * 32_768 + 777

/** The files that a record's prefix names. */
async function objectsOf({ container, service_metadata: prefix }: BackupRecord): Promise<string[]> {
  assert.ok(container !== null && prefix !== null)
  const folder = path.join(agent.home.store, container)
  const names = await readdir(folder).catch(() => [])
  return names.filter((name) => name.startsWith(prefix)).sort()
}

async function metadataOf(record: BackupRecord): Promise<JsonObject> {
  const { container, service_metadata: prefix } = record
  const file = path.join(agent.home.store, container ?? '', `${prefix}_metadata`)
  return JSON.parse(await readFile(file, 'utf8')) as JsonObject
}

test('each link of a chain restores to a zeroed and to a dirty volume, until it is deleted', async () => {
  const days = [diskBytes('chain', oddBytes)]
  for (const day of ['tuesday', 'wednesday']) {
    days.push(changedBytes(days.at(-1) ?? Buffer.of(), day))
  }
  const volumeId = randomUUID()
  const records: BackupRecord[] = []

  for (const bytes of days) {
    await agent.writeVolume(volumeId, bytes)
    const parent_id = records.at(-1)?.id ?? null
    records.push(await agent.backup(volumeId, { fields: { parent_id } }))
  }

  for (const [link, record] of records.entries()) {
    const whole = days[link]
    assert.ok(whole)
    assert.equal(record.status, 'available')
    assert.equal(record.object_count, (await objectsOf(record)).length - 2)
    const zeroed = await agent.restore(record, Buffer.alloc(oddBytes), { volume_is_new: true })
    assert.equal(sha256(zeroed), sha256(whole), `link ${link} onto zeros`)
    const tail = noise('tail', 5000)
    const dirty = await agent.restore(record, Buffer.concat([noise('dirt', oddBytes), tail]))
    assert.equal(sha256(dirty.subarray(0, oddBytes)), sha256(whole), `link ${link} onto dirt`)
    assert.deepEqual(dirty.subarray(oddBytes), tail, 'what lies beyond the backup is left alone')
  }
  assert.deepEqual(
    records.map(({ object_count }) => object_count),
    [7, 4, 3],
    'an incremental holds one chunk for each run of changed blocks',
  )
  for (const record of records.toReversed()) {
    const { payload } = await agent.runWell('delete', record)
    assert.equal(payload['status'], 'deleted')
    assert.equal((payload['record'] as JsonObject)['deleted'], true)
    assert.deepEqual(await objectsOf(record), [])
  }
})

test('a snapshot is read in place of its volume', async () => {
  const bytes = diskBytes('snapshot', 300_000)
  const snapshotId = randomUUID()
  await writeFile(path.join(agent.home.volumes, `snapshot-${snapshotId}`), bytes)

  const record = await agent.backup(randomUUID(), { fields: { snapshot_id: snapshotId } })

  assert.equal(record.snapshot_id, snapshotId)
  const restored = await agent.restore(record, Buffer.alloc(300_000))
  assert.equal(sha256(restored), sha256(bytes))
})

const baseMeta = { id: 'b1f0', bootable: true, size: 1, provider_auth: 'CHAP user secret' }
const documents: readonly [string, 1 | 2, (document: JsonObject) => JsonObject | string][] = [
  ['an object', 2, (document) => document],
  ['JSON text', 1, (document) => JSON.stringify(document)],
]

for (const [form, version, given] of documents) {
  test(`volume_meta given as ${form} comes back with the restore, without its secret`, async () => {
    const document = {
      version,
      'volume-base-metadata': baseMeta,
      'volume-metadata': { owner: 'Zoë', 'a "key"': '1' },
      'volume-glance-metadata': { min_ram: '0' },
    }
    const volumeId = await agent.newVolume(noise('meta', 1000))

    const extra = { volume_meta: given(document) }
    const record = await agent.backup(volumeId, { extra })
    const target = await agent.newVolume(Buffer.alloc(1000))
    const { payload } = await agent.runWell('restore', record, { volume_id: target })

    const clean = { ...document, 'volume-base-metadata': { ...baseMeta, provider_auth: null } }
    assert.deepEqual(payload['volume_meta'], clean)
    const kept = (await metadataOf(record))['volume_meta']
    assert.deepEqual(JSON.parse(String(kept)), clean, 'text within the text, as Cinder keeps it')
  })
}

test('a backup without volume_meta restores with none', async () => {
  const record = await agent.backup(await agent.newVolume(noise('bare', 1000)))
  const target = await agent.newVolume(Buffer.alloc(1000))

  const { payload } = await agent.runWell('restore', record, { volume_id: target })

  assert.equal(payload['volume_meta'], null)
})

test('ancestors are found by the store alone when nobody knows them any more', async (t) => {
  const days = [diskBytes('lost', oddBytes)]
  days.push(changedBytes(days[0] ?? Buffer.of(), 'next'))
  const volumeId = randomUUID()
  let parent_id: string | null = null
  const records: BackupRecord[] = []
  for (const bytes of days) {
    await agent.writeVolume(volumeId, bytes)
    const fields: Partial<BackupRecord> = { parent_id, container: 'backups' }
    const record: BackupRecord = await agent.backup(volumeId, { fields })
    records.push(record)
    parent_id = record.id
  }
  const [, increment] = records
  assert.ok(increment)

  const stranger = await drivenAgent(t, { DEFAULT: { backup_posix_path: agent.home.store } })
  const { user_id, project_id, ...rest } = increment
  const record = { ...rest, user_id, project_id, parent_id: null }
  const restored = await stranger.restore(record, noise('dirt', oddBytes))

  assert.equal(sha256(restored), sha256(days[1] ?? Buffer.of()))
})
