import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { test } from 'node:test'

import { memoryStore } from '#src/adapters/object-store/memory-store.ts'
import { memorySpool } from '#src/adapters/spool/memory-spool.ts'
import { documentHeader } from '#src/domain/document-header.ts'
import { metadataName, sha256fileName } from '#src/domain/object-names.ts'
import { chunkList } from '#src/engine/chunk-list.ts'
import { type BackupPlace, readMetadata, readParentDigests } from '#src/engine/read-manifest.ts'
import { metadataBody, sha256fileBody } from '#src/engine/write-manifest.ts'
import type { ObjectStore, StreamedBody } from '#src/ports/object-store.ts'

import { never, restoreChain } from '../support/chains.ts'
import { goldenBytes, goldenChain, goldenCodecs, storeGolden } from '../support/golden.ts'

for (const codec of goldenCodecs) {
  const chain = goldenChain(codec)
  const places = chain.backups.map(
    ({ prefix, row }): BackupPlace => ({ container: chain.container, prefix, record: row }),
  )
  const storeOfCinder = async (): Promise<ObjectStore> => {
    const store = memoryStore()
    await storeGolden(chain, store, never)
    return store
  }

  for (const [index, backup] of chain.backups.entries()) {
    const name = `link ${index} of Cinder's ${codec} chain`

    test(`${name} restores to what Cinder restores it to, onto a dirty volume`, async () => {
      const target = Buffer.alloc(chain.volume_bytes, 0xee)

      await restoreChain(await storeOfCinder(), places.slice(0, index + 1), target)

      assert.equal(hash('sha256', target), backup.restored_sha256)
    })

    test(`${name} has documents that we write again byte for byte`, async () => {
      const store = await storeOfCinder()
      const place = places[index] as BackupPlace
      const spool = memorySpool()
      const header = documentHeader(backup.row)
      const original = (wanted: string) => {
        const object = backup.objects.find((one) => one.name === wanted)
        return Buffer.from(object === undefined ? '' : goldenBytes(chain, object)).toString()
      }

      const digests = await spool.open()
      await readParentDigests(store, place, chain.block_size, digests, never)
      const sha256file = sha256fileBody(header, chain.block_size, digests)
      const manifest = await readMetadata(store, place, await spool.open(), never)
      const chunks = chunkList(await spool.open(), place.prefix)
      for await (const chunk of manifest.chunks()) await chunks.append([chunk])
      const { parentId, volumeMeta } = manifest
      const metadata = await metadataBody(
        { header, parentId, volumeMeta, zerosLeftOutOfBytes: null },
        { count: () => manifest.chunkCount, read: () => chunks.read('start') },
      )

      assert.equal(await textOf(sha256file), original(sha256fileName(place.prefix)))
      assert.equal(await textOf(metadata), original(metadataName(place.prefix)))
      assert.equal(manifest.chunkCount, backup.object_count)
    })
  }
}

async function textOf(body: StreamedBody): Promise<string> {
  const pieces: Uint8Array[] = []
  for await (const piece of body.open()) pieces.push(piece)
  const bytes = Buffer.concat(pieces)
  assert.equal(bytes.byteLength, body.sizeBytes)
  return bytes.toString()
}
