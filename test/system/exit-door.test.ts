import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'

import { startCinderDriver } from '../support/cinder-driver.ts'
import { blockBytes, chunkBytes, wholeFile } from '../support/driven-agent.ts'
import { assertCinderRestores, threeDays } from '../support/exit-door.ts'
import { type SwiftAgent, swiftAgent } from '../support/swift-agent.ts'
import { diskBytes, noise, sha256 } from '../support/volume-data.ts'

// Whoever leaves us takes their backups along: Debian's real Cinder driver restores what we wrote.

const cinder = startCinderDriver()
wholeFile.after(() => cinder[Symbol.asyncDispose]())

const storeOf = ({ user }: SwiftAgent) =>
  ({ driver: 'swift', url: user.swiftUrl, token: user.token }) as const

/** No multiple of the object size, nor of the block size. */
const oddBytes = 5 * chunkBytes + 3 * blockBytes + 777

for (const codec of ['none', 'zlib', 'bz2', 'zstd']) {
  test(`Cinder's own driver restores our ${codec} chain from a real Swift, each link of it`, async (t) => {
    const agent = await swiftAgent(t, { backup_compression_algorithm: codec })

    const links = await threeDays(agent, codec, oddBytes)

    for (const link of links) {
      await assertCinderRestores(cinder, storeOf(agent), link, agent.home.folder)
    }
  })
}

const sizes: readonly [string, number][] = [
  ['of less than a block', 777],
  ['of one block and a byte', blockBytes + 1],
  ['of whole objects', 2 * chunkBytes],
  ['that ends with a whole block', chunkBytes + blockBytes],
]

for (const [what, sizeBytes] of sizes) {
  test(`Cinder's own driver restores our backup of a volume ${what}`, async (t) => {
    const agent = await swiftAgent(t)
    const bytes = diskBytes(what, sizeBytes)

    const record = await agent.backup(await agent.newVolume(bytes))

    const link = { chain: [record] as const, bytes }
    await assertCinderRestores(cinder, storeOf(agent), link, agent.home.folder)
  })
}

test("Cinder's own driver goes on with our chain, deletes it, and hands the volume's metadata back", async (t) => {
  const agent = await swiftAgent(t)
  const store = storeOf(agent)
  const options = {
    backup_swift_object_size: chunkBytes,
    backup_swift_block_size: blockBytes,
  }
  const bytes = diskBytes('theirs', oddBytes)
  const volumeId = await agent.newVolume(bytes)
  const document = { version: 2, 'volume-base-metadata': { display_name: 'disk' } }
  const full = await agent.backup(volumeId, { extra: { volume_meta: document } })
  bytes.fill('changed', chunkBytes, chunkBytes + 10)
  await agent.writeVolume(volumeId, bytes)

  const child = agent.asked(volumeId, { parent_id: full.id, container: full.container })
  const file = agent.volumeFile(volumeId)
  const increment = await cinder.backup({ store, options, chain: [full, child], file })

  assert.equal(increment.record.object_count, 1, 'it knows what we had already')
  const restored = await agent.restore(increment.record, Buffer.alloc(oddBytes))
  assert.equal(sha256(restored), sha256(bytes), 'and we restore what it put on top')
  const target = path.join(agent.home.folder, 'target')
  await writeFile(target, Buffer.alloc(oddBytes))
  const { volume_meta } = await cinder.restore({ store, chain: [full], file: target })
  assert.deepEqual(JSON.parse(String(volume_meta[0])), document)
  for (const record of [increment.record, full]) await cinder.remove({ store, chain: [record] })
  assert.deepEqual(await agent.container.list(), [])
})

test("with zero_chunks = sparse, Cinder's own driver restores onto a new volume", async (t) => {
  const agent = await swiftAgent(t, {}, { cinder_backup_agent: { zero_chunks: 'sparse' } })
  const bytes = Buffer.concat([Buffer.alloc(chunkBytes), noise('sparse', chunkBytes + 5)])
  const record = await agent.backup(await agent.newVolume(bytes))
  const file = path.join(agent.home.folder, 'target')
  await writeFile(file, Buffer.alloc(bytes.byteLength))

  await cinder.restore({ store: storeOf(agent), chain: [record], file })

  assert.equal(record.object_count, 2, 'the zeros are not there')
  assert.equal(sha256(await readFile(file)), sha256(bytes))
})
