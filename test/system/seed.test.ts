import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type TestContext, test } from 'node:test'

import type { BackupRecord } from '#src/domain/backup-record.ts'
import { blockBytes, chunkBytes, wholeFile } from '../support/driven-agent.ts'
import { type SeedOptions, seedCompressions, writeSeedBackup } from '../support/seed-writer.ts'
import { swiftAgent } from '../support/swift-agent.ts'
import { diskBytes, noise, sha256 } from '../support/volume-data.ts'

const agent = await swiftAgent(wholeFile)
const volumeBytes = 3 * chunkBytes + 2 * blockBytes + 333

type Choices = Pick<SeedOptions, 'era' | 'compression'> & Partial<SeedOptions>

/** An old backup of a volume, in the real Swift, and its record as an old database has it. */
async function oldBackup(
  t: TestContext,
  choices: Choices,
): Promise<{ readonly volumeId: string; readonly bytes: Buffer; readonly record: BackupRecord }> {
  const bytes = diskBytes(`seed ${choices.compression}`, volumeBytes)
  const volumeId = await agent.newVolume(bytes)
  const folder = await mkdtemp(path.join(tmpdir(), 'cba-seed-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const { record, objects } = await writeSeedBackup({
    volumeFile: agent.volumeFile(volumeId),
    outFolder: folder,
    chunkBytes,
    volumeId,
    backupId: randomUUID(),
    ...choices,
  })
  for (const { name } of objects) {
    await agent.container.put(name, await readFile(path.join(folder, name)))
  }
  const { userId: user_id, projectId: project_id } = agent.user
  const whose = { user_id, project_id, container: agent.container.name }
  return { volumeId, bytes, record: { ...record, ...whose } }
}

for (const compression of seedCompressions) {
  test(`a backup as Icehouse wrote it with ${compression} restores and is deleted`, async (t) => {
    const { record, bytes } = await oldBackup(t, { era: 'icehouse', compression, name: 'old' })

    const restored = await agent.restore(record, noise('dirt', volumeBytes))
    await agent.runWell('delete', record)

    assert.equal(sha256(restored), sha256(bytes))
    assert.deepEqual(await agent.container.list(record.service_metadata ?? ''), [])
  })
}

for (const compression of ['none', 'zlib', 'bz2'] as const) {
  test(`a backup as Kilo wrote it with ${compression} restores`, async (t) => {
    const { record, bytes } = await oldBackup(t, { era: 'kilo', compression })

    const restored = await agent.restore(record, noise('dirt', volumeBytes))

    assert.equal(sha256(restored), sha256(bytes))
  })
}

test('an Icehouse backup, which has no sha256file, is no parent: the message says what to do', async (t) => {
  const { volumeId, record } = await oldBackup(t, { era: 'icehouse', compression: 'zlib' })

  const asked = agent.asked(volumeId, {
    parent_id: record.id,
    container: agent.container.name,
  })
  const { eventType, payload } = await agent.scheduler.run('create', asked)

  assert.equal(eventType, 'backup.create.error')
  assert.equal(payload['code'], 'PARENT_MISMATCH')
  assert.match(String(payload['message']), /take a full backup/)
  const left = await agent.container.list(`volume_${volumeId}/`)
  assert.ok(left.length > 0)
  assert.ok(
    left.every(({ name }) => name.startsWith(record.service_metadata ?? '-')),
    'nothing was written beside the old backup',
  )
})

test('a Kilo backup is a parent of ours, and the chain restores', async (t) => {
  const { volumeId, bytes, record } = await oldBackup(t, { era: 'kilo', compression: 'zlib' })
  const after = Buffer.from(bytes)
  noise('kilo', 300).copy(after, chunkBytes + 5)
  await agent.writeVolume(volumeId, after)

  const increment = await agent.backup(volumeId, {
    fields: { parent_id: record.id, container: agent.container.name },
  })

  assert.equal(increment.object_count, 1)
  assert.equal(sha256(await agent.restore(increment, noise('dirt', volumeBytes))), sha256(after))
})

test("a backup keeps the volume's metadata through the eras", async (t) => {
  const document = { version: 1, 'volume-base-metadata': { display_name: 'disk', size: 1 } }
  const { record } = await oldBackup(t, {
    era: 'icehouse',
    compression: 'none',
    volumeMeta: JSON.stringify(document),
  })
  const target = await agent.newVolume(Buffer.alloc(volumeBytes))

  const { payload } = await agent.runWell('restore', record, { volume_id: target })

  assert.deepEqual(payload['volume_meta'], document)
})
