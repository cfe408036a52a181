import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { codecOf, compressions } from '#src/domain/compression.ts'
import { extentSet } from '#src/domain/extents.ts'
import { aChain, addBackup, type BackupChoices, restoreChain } from '../support/chains.ts'
import { nativeAccelerator } from '../support/native-accelerator.ts'
import { times } from '../support/soak.ts'
import { blockSizes, volumeHistory } from '../support/volume-history.ts'

const native = nativeAccelerator().accelerator
const accelerators = fc.constantFrom(null, native)

const link = fc
  .record({
    blocksPerChunk: fc.integer({ min: 1, max: 9 }),
    compression: fc.constantFrom(...compressions),
    effort: fc.constantFrom('compatible' as const, 'fast' as const),
    zeroChunks: fc.constantFrom('compat' as const, 'sparse' as const),
    verifiesUpload: fc.boolean(),
    accelerator: accelerators,
  })
  // A process for each chunk takes its time.
  .map((one) => (codecOf(one.compression) === 'bz2' ? { ...one, accelerator: native } : one))

const target = fc.record({
  dirt: fc.constantFrom(0, 0xee),
  extraBytes: fc.nat(5000),
  volumeIsNew: fc.boolean(),
  usesDigests: fc.boolean(),
  accelerator: accelerators,
  memoryMax: fc.constantFrom(3000, 40_000, 64 * 1_048_576),
  workers: fc.integer({ min: 1, max: 3 }),
})

test('whatever a chain was made of and with, each of its backups restores to its bytes', async () => {
  const chains = fc.record({
    days: volumeHistory(60_000, 6),
    block: blockSizes,
    links: fc.array(link, { minLength: 6, maxLength: 6 }),
    target,
    restoresLink: fc.nat(5),
  })
  await fc.assert(
    fc.asyncProperty(chains, async ({ days, block, links, target, restoresLink }) => {
      const { blockSizeBytes } = block
      const chain = await aChain()
      for (const [index, bytes] of days.entries()) {
        const { blocksPerChunk, ...choices } = links[index] as (typeof links)[number]
        const plan: BackupChoices = { ...choices, blockSizeBytes }
        const chunkSizeBytes = blocksPerChunk * blockSizeBytes
        await addBackup(chain, bytes, { ...plan, chunkSizeBytes })
      }

      const count = 1 + (restoresLink % days.length)
      const wanted = days[count - 1] ?? Buffer.alloc(0)
      const { dirt, extraBytes, ...options } = target
      const found = Buffer.alloc(wanted.byteLength + extraBytes, dirt)
      const restored = extentSet()
      await restoreChain(chain.store, chain.places.slice(0, count), found, { ...options, restored })

      assert.ok(found.subarray(0, wanted.byteLength).equals(wanted), 'other bytes than backed up')
      const behind = found.subarray(wanted.byteLength)
      assert.ok(behind.equals(Buffer.alloc(extraBytes, dirt)), 'written beyond the backup')
      const whole = [{ offsetBytes: 0, lengthBytes: wanted.byteLength }]
      assert.deepEqual(restored.list(9), { extents: whole, omittedBytes: 0 })
    }),
    { numRuns: times(60, 1500) },
  )
})
