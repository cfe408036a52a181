import fc from 'fast-check'

import type { Compression } from '#src/domain/compression.ts'

import { noise } from './volume-data.ts'

// Volumes and their changes for property tests: runs of zeros, text and noise, of any length.

export type Content = {
  readonly kind: 'zeros' | 'text' | 'noise'
  readonly lengthBytes: number
  readonly seed: number
}

/** What happens to a volume between two backups. */
export type Change = {
  /** Where, in thousandths of the volume, and what is written there. */
  readonly writes: readonly { readonly at: number; readonly content: Content }[]
  readonly grownBytes: number
}

/** The lengths are odd on purpose: runs and volumes end within blocks. */
export function contentOf(lengthBytesMax: number): fc.Arbitrary<Content> {
  return fc.record({
    kind: fc.constantFrom('zeros' as const, 'text' as const, 'noise' as const),
    lengthBytes: fc.oneof(
      fc.integer({ min: 1, max: lengthBytesMax }),
      fc.integer({ min: 1, max: Math.ceil(lengthBytesMax / 512) }).map((blocks) => blocks * 512),
    ),
    seed: fc.nat(255),
  })
}

export function changeOf(lengthBytesMax: number): fc.Arbitrary<Change> {
  const write = fc.record({ at: fc.nat(999), content: contentOf(lengthBytesMax) })
  return fc.record({
    writes: fc.array(write, { maxLength: 5 }),
    grownBytes: fc.oneof(fc.constant(0), fc.nat(lengthBytesMax)),
  })
}

export function bytesOf({ kind, lengthBytes, seed }: Content): Buffer {
  if (kind === 'noise') return noise(`run ${seed}`, lengthBytes)
  return kind === 'text' ? Buffer.alloc(lengthBytes, `line ${seed}\n`) : Buffer.alloc(lengthBytes)
}

export function volumeOf(runs: readonly Content[]): Buffer {
  return Buffer.concat(runs.map(bytesOf))
}

export function changed(before: Uint8Array, { writes, grownBytes }: Change): Buffer {
  const after = Buffer.concat([before, Buffer.alloc(grownBytes)])
  for (const { at, content } of writes) {
    after.set(bytesOf(content).subarray(0, after.byteLength - place(after, at)), place(after, at))
  }
  return after
}

const place = (volume: Uint8Array, at: number) => Math.floor((volume.byteLength * at) / 1000)

/** How a backup is made. A process for each chunk takes its time: bz2 comes rarely without native code. */
export const codecChoice: fc.Arbitrary<{
  readonly compression: Compression
  readonly isNative: boolean
}> = fc.oneof(
  { weight: 40, arbitrary: codec(['none', 'zlib', 'zstd'], fc.boolean()) },
  { weight: 5, arbitrary: codec(['bz2'], fc.constant(true)) },
  { weight: 1, arbitrary: codec(['bz2'], fc.constant(false)) },
)

function codec(names: readonly Compression[], isNative: fc.Arbitrary<boolean>) {
  return fc.record({ compression: fc.constantFrom(...names), isNative })
}
