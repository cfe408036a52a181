import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { extentSet } from '#src/domain/extents.ts'
import { aChain, addBackup, restoreChain } from '../support/chains.ts'
import { nativeAccelerator } from '../support/native-accelerator.ts'
import { changed, changeOf, codecChoice, contentOf, volumeOf } from '../support/random-volumes.ts'
import { times } from '../support/soak.ts'
import { noise } from '../support/volume-data.ts'
import { testSeed } from '../support/volume-files.ts'

const { accelerator } = nativeAccelerator()
const runBytesMax = 12_000

const choices = fc.record({
  codec: codecChoice,
  blocksPerChunk: fc.integer({ min: 1, max: 8 }),
  effort: fc.constantFrom('compatible' as const, 'fast' as const),
  zeroChunks: fc.constantFrom('compat' as const, 'sparse' as const),
  verifiesUpload: fc.boolean(),
  uploadsMax: fc.integer({ min: 1, max: 5 }),
})

const restoring = fc.record({
  isNative: fc.boolean(),
  usesDigests: fc.boolean(),
  volumeIsNew: fc.boolean(),
  isDirty: fc.boolean(),
  // With the smallest, chunks are written while they come.
  memoryMax: fc.constantFrom(4096, 65_536, 64 * 1_048_576),
  workers: fc.integer({ min: 1, max: 3 }),
})

const chains = fc.record({
  blockSizeBytes: fc.constantFrom(512, 1536, 4096, 5000),
  runs: fc.array(contentOf(runBytesMax), { minLength: 1, maxLength: 6 }),
  first: choices,
  later: fc.array(fc.record({ change: changeOf(runBytesMax), choices }), { maxLength: 5 }),
  restoring,
})

const isThere = (isNative: boolean) => (isNative ? accelerator : null)

test('whatever a volume was and however it was backed up, its bytes come back', async (t) => {
  const seed = Number(testSeed(t))
  t.diagnostic(accelerator === null ? 'no accelerator' : accelerator.features.join(', '))
  let restores = 0

  const property = fc.asyncProperty(chains, async (one) => {
    const { blockSizeBytes, runs, first, later, restoring } = one
    const chain = await aChain()
    const volumes = [volumeOf(runs)]
    for (const { change } of later) volumes.push(changed(volumes.at(-1) ?? Buffer.of(), change))
    const plans = [first, ...later.map(({ choices }) => choices)]
    for (const [index, { codec, blocksPerChunk, ...plan }] of plans.entries()) {
      await addBackup(chain, volumes[index] ?? Buffer.of(), {
        ...{ ...plan, blockSizeBytes, chunkSizeBytes: blocksPerChunk * blockSizeBytes },
        compression: codec.compression,
        accelerator: isThere(codec.isNative),
      })
    }

    const { isNative, isDirty, ...options } = restoring
    for (const [index, volume] of volumes.entries()) {
      const beyond = Buffer.alloc(100, 'beyond')
      const before = isDirty ? noise('before', volume.byteLength) : Buffer.alloc(volume.byteLength)
      const target = Buffer.concat([before, beyond])
      const restored = extentSet()
      const places = chain.places.slice(0, index + 1)
      const how = { ...options, accelerator: isThere(isNative), restored }
      await restoreChain(chain.store, places, target, how)

      assert.ok(target.subarray(0, volume.byteLength).equals(volume), `backup ${index} differs`)
      assert.ok(target.subarray(volume.byteLength).equals(beyond), 'it wrote beyond the volume')
      const whole = [{ offsetBytes: 0, lengthBytes: volume.byteLength }]
      assert.deepEqual(restored.list(9), { extents: whole, omittedBytes: 0 })
      restores += 1
    }
  })
  await fc.assert(property, { seed, numRuns: times(100, 3000) })
  t.diagnostic(`${restores} restores`)
})
