import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'

import { wrapStore } from '#src/adapters/object-store/wrap-store.ts'
import { memorySpool } from '#src/adapters/spool/memory-spool.ts'
import type { RestoreLink } from '#src/domain/restore-plan.ts'
import { checkReach } from '#src/engine/expected-digests.ts'
import { restoreExtent } from '#src/engine/restore-chunk.ts'
import { storeWindow } from '#src/engine/store-window.ts'
import { aChain, addBackup, restoreChain } from '../support/chains.ts'

test('of a chunk that newer backups replaced in part only the rest is fetched', async () => {
  assert.ok(restoreExtent !== undefined && storeWindow !== undefined)
  const blockSizeBytes = 65_536
  const chunkSizeBytes = 64 * blockSizeBytes
  const choices = { compression: 'none', blockSizeBytes, chunkSizeBytes } as const
  const chain = await aChain()
  const bytes = randomBytes(chunkSizeBytes)
  await addBackup(chain, bytes, choices)
  for (let day = 0; day < 6; day += 1) {
    for (let block = day * 10; block < day * 10 + 8; block += 1) {
      bytes.set(randomBytes(100), block * blockSizeBytes)
    }
    await addBackup(chain, bytes, choices)
  }
  let fetchedBytes = 0
  const counting = wrapStore(chain.store, async ({ method, name }, run) => {
    const result = await run()
    if (method === 'getUndigested' && /-\d+$/.test(name ?? '')) fetchedBytes += Number(result)
    return result
  })
  const target = Buffer.alloc(chunkSizeBytes, 0xee)

  await restoreChain(counting, chain.places, target)

  assert.ok(target.equals(bytes))
  assert.ok(fetchedBytes <= 1.05 * chunkSizeBytes, `${fetchedBytes} of ${chunkSizeBytes}`)
})

test('where a part is damaged the whole is fetched, and the chunk is named', async () => {
  const blockSizeBytes = 65_536
  const choices = { compression: 'none', blockSizeBytes, chunkSizeBytes: 1_048_576 } as const
  const chain = await aChain()
  const bytes = randomBytes(1_048_576)
  await addBackup(chain, bytes, choices)
  bytes.set(randomBytes(100), 3 * blockSizeBytes)
  bytes.set(randomBytes(100), 4 * blockSizeBytes)
  await addBackup(chain, bytes, choices)
  const id = { container: 'backups', name: `${chain.places[0]?.prefix}-00001` }
  const damaged = Buffer.from(bytes)
  damaged.writeUInt8(damaged.readUInt8(10) ^ 1, 10)
  await chain.store.putObject(id, damaged, new AbortController().signal)

  await assert.rejects(restoreChain(chain.store, chain.places, Buffer.alloc(1_048_576)), {
    code: 'CHUNK_CORRUPT',
    message: /-00001 .* is corrupt: .*; nothing of it was written/,
  })
})

test('a chain that reaches further than its digests, or less far, is refused', async () => {
  const digests = await memorySpool().open()
  await digests.append(new Uint8Array(3 * 32))
  const expected = { blockSizeBytes: 1000, digests }
  const link = (endBytes: number): RestoreLink => ({
    ...{ backupId: 'b', parentId: null, container: 'c', endBytes, zeroFilledBytes: 0 },
    chunks: async function* () {},
  })

  checkReach([link(2500)], expected)
  checkReach([link(9000), link(2000)], expected) // It was larger before.
  for (const links of [[link(3001)], [link(2000)]]) {
    assert.throws(() => checkReach(links, expected), { code: 'MANIFEST_INVALID' })
  }
})
