import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'

import { compressions } from '#src/domain/compression.ts'
import { extentSet } from '#src/domain/extents.ts'

import { aChain, addBackup, restoreChain } from '../support/chains.ts'

const blockSizeBytes = 64

/** A volume as runs of zeros, text and noise, with a ragged tail. */
const volumeBytes = fc
  .array(
    fc.record({
      kind: fc.constantFrom('zeros', 'text', 'noise'),
      blocks: fc.integer({ min: 1, max: 12 }),
      seed: fc.nat(255),
    }),
    { minLength: 1, maxLength: 8 },
  )
  .chain((runs) =>
    fc.nat(blockSizeBytes - 1).map((ragged) => {
      const parts = runs.map(({ kind, blocks, seed }) => {
        const bytes = Buffer.alloc(blocks * blockSizeBytes)
        if (kind === 'text') bytes.fill(`line ${seed}\n`)
        if (kind === 'noise') for (const at of bytes.keys()) bytes[at] = (at * seed * 31) % 251
        return bytes
      })
      const whole = Buffer.concat(parts)
      return whole.subarray(0, whole.byteLength - ragged)
    }),
  )

const choices = fc.record({
  blocksPerChunk: fc.integer({ min: 1, max: 9 }),
  uploadsMax: fc.integer({ min: 1, max: 5 }),
  zeroChunks: fc.constantFrom('compat' as const, 'sparse' as const),
  // A process for each chunk takes its time: bz2 has a test of its own.
  compression: fc.constantFrom(...compressions.filter((name) => !name.startsWith('bz'))),
})

test('a full backup and its incrementals each restore to the bytes they were made of', async () => {
  const chains = fc.record({
    backups: fc.array(fc.record({ volume: volumeBytes, choices }), { minLength: 1, maxLength: 4 }),
    dirt: fc.nat(255),
    volumeIsNew: fc.boolean(),
    memoryMax: fc.constantFrom(64, 4096, 1_048_576),
  })
  await fc.assert(
    fc.asyncProperty(chains, async ({ backups, dirt, volumeIsNew, memoryMax }) => {
      const chain = await aChain()
      for (const { volume, choices } of backups) {
        const { blocksPerChunk, ...rest } = choices
        const plan = { ...rest, blockSizeBytes, chunkSizeBytes: blocksPerChunk * blockSizeBytes }
        await addBackup(chain, volume, plan)
      }

      const volumes = backups.map(({ volume }) => volume)
      for (const [index, volume] of volumes.entries()) {
        // A volume that shrank keeps what its earlier backups had beyond its end.
        const sizes = volumes.slice(0, index + 1).map(({ byteLength }) => byteLength)
        const target = Buffer.alloc(Math.max(...sizes) + 10, dirt)
        const restored = extentSet()
        const options = { volumeIsNew, memoryMax, workers: 1, restored }
        await restoreChain(chain.store, chain.places.slice(0, index + 1), target, options)

        assert.ok(
          target.subarray(0, volume.byteLength).equals(volume),
          'other bytes than backed up',
        )
        assert.deepEqual(target.subarray(Math.max(...sizes)), Buffer.alloc(10, dirt))
        const whole = [{ offsetBytes: 0, lengthBytes: Math.max(...sizes) }]
        assert.deepEqual(restored.list(9), { extents: whole, omittedBytes: 0 })
      }
    }),
    { numRuns: 150 },
  )
})

test('a chain in bz2 restores to the bytes it was made of', async () => {
  const chain = await aChain()
  const volume = Buffer.alloc(20_000, 'some text that compresses')
  const changed = Buffer.from(volume).fill(0, 5000, 9000).fill('other', 15_000)
  for (const bytes of [volume, changed]) await addBackup(chain, bytes, { compression: 'bz2' })

  const target = Buffer.alloc(20_000, 1)
  await restoreChain(chain.store, chain.places, target)

  assert.deepEqual(target, changed)
})
