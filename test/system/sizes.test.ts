import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'

import { blockBytes, chunkBytes, drivenAgent, wholeFile } from '../support/driven-agent.ts'
import { diskBytes, noise, sha256 } from '../support/volume-data.ts'

const agent = await drivenAgent(wholeFile)

const sizes = [
  1,
  blockBytes - 1,
  blockBytes,
  blockBytes + 1,
  chunkBytes - 1,
  chunkBytes,
  chunkBytes + 1,
  3 * chunkBytes + blockBytes + 1,
]

for (const sizeBytes of sizes) {
  test(`a volume of ${sizeBytes} bytes comes back, alone and with an incremental`, async () => {
    const bytes = diskBytes(`size ${sizeBytes}`, sizeBytes)
    const volumeId = await agent.newVolume(bytes)
    const full = await agent.backup(volumeId)
    const changed = Buffer.from(bytes)
    changed.writeUInt8(changed.readUInt8(sizeBytes - 1) ^ 1, sizeBytes - 1)
    await agent.writeVolume(volumeId, changed)

    const increment = await agent.backup(volumeId, { fields: { parent_id: full.id } })

    assert.equal(full.object_count, Math.ceil(sizeBytes / chunkBytes))
    assert.equal(increment.object_count, 1)
    const dirt = noise('dirt', sizeBytes)
    assert.equal(sha256(await agent.restore(full, dirt)), sha256(bytes))
    assert.equal(sha256(await agent.restore(increment, dirt)), sha256(changed))
  })
}

test('a volume that did not change makes an incremental without chunks, which restores', async () => {
  const bytes = diskBytes('same', chunkBytes + 5)
  const volumeId = await agent.newVolume(bytes)
  const full = await agent.backup(volumeId)

  const increment = await agent.backup(volumeId, { fields: { parent_id: full.id } })

  assert.equal(increment.object_count, 0)
  assert.equal(sha256(await agent.restore(increment, noise('dirt', chunkBytes + 5))), sha256(bytes))
})

test('a volume that grew goes on with an incremental that has all that is new', async () => {
  const before = diskBytes('grown', 2 * chunkBytes + 100)
  const volumeId = await agent.newVolume(before)
  const full = await agent.backup(volumeId)
  const after = Buffer.concat([before, noise('growth', chunkBytes)])
  await agent.writeVolume(volumeId, after)

  const increment = await agent.backup(volumeId, { fields: { parent_id: full.id } })

  const restored = await agent.restore(increment, noise('dirt', after.byteLength))
  assert.equal(sha256(restored), sha256(after))
})

test('a record without a size gets that of the device, in whole GiB', async () => {
  const record = await agent.backup(await agent.newVolume(noise('sizeless', 1000)), {
    fields: { size: null },
  })

  assert.equal(record.size, 1)
})

test('a record of another size than the device is backed up, with a warning', async () => {
  const bytes = noise('other size', 70_000)

  const record = await agent.backup(await agent.newVolume(bytes), { fields: { size: 7 } })

  assert.equal(record.size, 7)
  assert.match(agent.agent.log(), /the device has another size than the record/)
  assert.equal(sha256(await agent.restore(record, Buffer.alloc(70_000))), sha256(bytes))
})

test('a volume of no bytes, or of 0 GiB, is refused', async () => {
  const empty = agent.asked(await agent.newVolume(Buffer.of()))
  const zeroGib = agent.asked(await agent.newVolume(noise('zero', 1000)), { size: 0 })

  for (const asked of [empty, zeroGib]) {
    const { eventType, payload } = await agent.scheduler.run('create', asked)
    assert.equal(eventType, 'backup.create.error')
    assert.equal(payload['code'], 'VOLUME_INVALID_SIZE')
  }
})

test('a target that ends before the backup does is refused and not touched', async () => {
  const bytes = diskBytes('too small', chunkBytes + 1000)
  const record = await agent.backup(await agent.newVolume(bytes))
  const dirt = noise('dirt', chunkBytes + 999)
  const target = await agent.newVolume(dirt)

  const { eventType, payload } = await agent.scheduler.run('restore', record, { volume_id: target })

  assert.equal(eventType, 'backup.restore.error')
  assert.equal(payload['code'], 'VOLUME_TOO_SMALL')
  assert.equal(payload['status'], 'available', 'the backup is still good')
  assert.equal(sha256(await agent.readVolume(target)), sha256(dirt))
})

test('an incremental with another block size than its parent is refused with what to do', async (t) => {
  const volumeId = randomUUID()
  await agent.writeVolume(volumeId, noise('blocks', 200_000))
  const container = `blocks-${volumeId}`
  const full = await agent.backup(volumeId, { fields: { container } })
  const other = await drivenAgent(t, {
    DEFAULT: { backup_posix_path: agent.home.store, backup_sha_block_size_bytes: 65_536 },
  })
  await mkdir(path.dirname(other.volumeFile(volumeId)), { recursive: true })
  await other.writeVolume(volumeId, noise('blocks', 200_000))

  const asked = other.asked(volumeId, { parent_id: full.id, container })
  const { payload } = await other.scheduler.run('create', asked)

  assert.equal(payload['code'], 'PARENT_MISMATCH')
  assert.match(String(payload['message']), /full backup/)
})

test('chunks larger than memory_max allows are made smaller, which is said, and restore', async (t) => {
  const small = await drivenAgent(t, {
    DEFAULT: { backup_file_size: 64 * 2 ** 20 },
    cinder_backup_agent: { memory_max: 32 * 2 ** 20, workers: 2 },
  })
  const bytes = diskBytes('smaller chunks', 20 * 2 ** 20)

  const record = await small.backup(await small.newVolume(bytes))

  assert.match(small.agent.log(), /chunks are smaller than configured, to fit memory_max/)
  assert.equal(record.object_count, 3)
  assert.equal(sha256(await small.restore(record, Buffer.alloc(bytes.byteLength))), sha256(bytes))
  // What others wrote in larger chunks than memory holds is restored all the same.
  const large = await drivenAgent(t, {
    DEFAULT: { backup_file_size: 64 * 2 ** 20, backup_posix_path: small.home.store },
  })
  const whole = await large.backup(await large.newVolume(bytes))
  assert.equal(whole.object_count, 1)
  assert.equal(sha256(await small.restore(whole, Buffer.alloc(bytes.byteLength))), sha256(bytes))
})
