import assert from 'node:assert/strict'
import { test } from 'node:test'

import { backupToPrimitive } from '#src/adapters/rpc/versioned-object.ts'
import type { BackupRecord, BackupWithParents } from '#src/domain/backup-record.ts'
import { wholeFile } from '../support/driven-agent.ts'
import { type GoldenCodec, goldenBytes, goldenChain, goldenCodecs } from '../support/golden.ts'
import { swiftAgent } from '../support/swift-agent.ts'
import { changedBytes, noise, sha256 } from '../support/volume-data.ts'

const agent = await swiftAgent(wholeFile)

/** Puts a chain into the agent's container; its rows as they were, but for whose they are and where. */
async function storeChain(codec: GoldenCodec) {
  const chain = goldenChain(codec)
  for (const { objects } of chain.backups) {
    for (const object of objects) {
      await agent.container.put(object.name, goldenBytes(chain, object))
    }
  }
  const { userId: user_id, projectId: project_id } = agent.user
  const whose = { user_id, project_id, container: agent.container.name }
  const records = chain.backups.map(({ row }): BackupRecord => ({ ...row, ...whose }))
  return { chain, records }
}

for (const codec of goldenCodecs) {
  test(`what Cinder wrote with ${codec} restores from a real Swift, each link of it`, async () => {
    const { chain, records } = await storeChain(codec)

    for (const [link, record] of records.entries()) {
      const expected = chain.backups[link]
      const restored = await agent.restore(record, noise('dirt', chain.volume_bytes))
      assert.equal(sha256(restored), expected?.restored_sha256, `link ${link}, ancestors looked up`)
    }

    const nested = records.reduce<BackupWithParents | null>(
      (parent, record) => ({ record, parent }),
      null,
    )
    assert.ok(nested)
    const last = await agent.restore(nested.record, Buffer.alloc(chain.volume_bytes), {
      backup: backupToPrimitive(nested),
      volume_is_new: true,
    })
    assert.equal(sha256(last), chain.backups[2].restored_sha256, 'ancestors nested in the request')
  })

  test(`an incremental of ours on top of Cinder's ${codec} chain holds only what changed`, async () => {
    const { chain, records } = await storeChain(codec)
    const record = records.at(-1)
    assert.ok(record)
    const before = await agent.restore(record, Buffer.alloc(chain.volume_bytes))
    const after = changedBytes(before, codec)
    await agent.writeVolume(chain.volume_id, after)

    const ours = await agent.backup(chain.volume_id, {
      fields: { parent_id: record.id, container: agent.container.name },
    })

    assert.ok(ours.object_count > 0)
    const stored = await agent.container.list(`${ours.service_metadata}-`)
    assert.equal(stored.length, ours.object_count)
    const storedBytes = stored.reduce((sum, { bytes }) => sum + bytes, 0)
    assert.ok(storedBytes < chain.volume_bytes / 4, `${storedBytes} bytes were stored`)
    const restored = await agent.restore(ours, noise('dirt', chain.volume_bytes))
    assert.equal(sha256(restored), sha256(after))
  })
}
