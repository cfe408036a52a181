import assert from 'node:assert/strict'
import { readdir, readFile, stat } from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'

import type { BackupRecord } from '#src/domain/backup-record.ts'
import { chunkBytes, type DrivenAgent, drivenAgent } from '../support/driven-agent.ts'
import { noise, sha256 } from '../support/volume-data.ts'

type Entry = { compression: string; length: number; offset: number }

/** The entries of a backup's metadata, with what each chunk weighs in the store. */
async function chunksOf({ home }: DrivenAgent, record: BackupRecord) {
  const folder = path.join(home.store, record.container ?? '')
  const file = path.join(folder, `${record.service_metadata}_metadata`)
  const document = JSON.parse(await readFile(file, 'utf8')) as { objects: Record<string, Entry>[] }
  const entries = document.objects.flatMap((entry) => Object.entries(entry))
  const names = await readdir(folder)
  assert.equal(names.length, entries.length + 2)
  return Promise.all(
    entries.map(async ([name, entry]) => ({
      ...entry,
      storedBytes: (await stat(path.join(folder, name))).size,
    })),
  )
}

/** A chunk of noise, one of text, one of zeros, and a short one of text. */
const content = Buffer.concat([
  noise('codecs', chunkBytes),
  Buffer.alloc(chunkBytes, 'the same text again and again\n'),
  Buffer.alloc(chunkBytes),
  Buffer.alloc(5000, 'a short end\n'),
])

for (const codec of ['none', 'zlib', 'bz2', 'zstd']) {
  test(`with ${codec}, a volume restores; what does not get smaller is stored plain`, async (t) => {
    const agent = await drivenAgent(t, { DEFAULT: { backup_compression_algorithm: codec } })

    const record = await agent.backup(await agent.newVolume(content))

    const chunks = await chunksOf(agent, record)
    assert.deepEqual(
      chunks.map(({ compression, offset, length }) => [compression, offset, length]),
      [
        ['none', 0, chunkBytes],
        [codec, chunkBytes, chunkBytes],
        [codec, 2 * chunkBytes, chunkBytes],
        [codec, 3 * chunkBytes, 5000],
      ],
    )
    for (const { compression, length, storedBytes } of chunks) {
      if (compression === 'none') assert.equal(storedBytes, length)
      else assert.ok(storedBytes < length / 20, `${storedBytes} of ${length} bytes`)
    }
    const restored = await agent.restore(record, noise('dirt', content.byteLength))
    assert.equal(sha256(restored), sha256(content))
  })
}

test('with zero_chunks = sparse, zeros are left out of a full backup and yet restored', async (t) => {
  const agent = await drivenAgent(t, { cinder_backup_agent: { zero_chunks: 'sparse' } })
  const volumeId = await agent.newVolume(content)

  const full = await agent.backup(volumeId)
  const emptied = Buffer.from(content).fill(0, 0, chunkBytes)
  await agent.writeVolume(volumeId, emptied)
  const increment = await agent.backup(volumeId, { fields: { parent_id: full.id } })

  const offsets = (await chunksOf(agent, full)).map(({ offset }) => offset)
  assert.deepEqual(offsets, [0, chunkBytes, 3 * chunkBytes])
  assert.equal(full.object_count, 3)
  assert.deepEqual(
    (await chunksOf(agent, increment)).map(({ offset, length }) => [offset, length]),
    [[0, chunkBytes]],
    'zeros of an incremental are data',
  )
  const dirt = noise('dirt', content.byteLength)
  assert.equal(sha256(await agent.restore(full, dirt)), sha256(content))
  assert.equal(sha256(await agent.restore(increment, dirt)), sha256(emptied))
  const onNew = await agent.restore(full, Buffer.alloc(content.byteLength), { volume_is_new: true })
  assert.equal(sha256(onNew), sha256(content))
})

test('a volume of zeros alone is backed up sparse without a chunk, and restored', async (t) => {
  const agent = await drivenAgent(t, { cinder_backup_agent: { zero_chunks: 'sparse' } })
  const zeros = Buffer.alloc(2 * chunkBytes + 100)

  const record = await agent.backup(await agent.newVolume(zeros))

  assert.equal(record.object_count, 0)
  assert.deepEqual(await agent.restore(record, noise('dirt', zeros.byteLength)), zeros)
})
