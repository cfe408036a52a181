import fc from 'fast-check'

import { noise } from './volume-data.ts'

// Volumes as they were on some days, one after the other, for property tests.

export type Kind = 'zeros' | 'text' | 'noise'

const kinds = fc.constantFrom<Kind>('zeros', 'text', 'noise')

/** Runs of zeros, text and noise, of any length, at any place. */
const runs = (bytesMax: number, countMax: number) =>
  fc.array(
    fc.record({ kind: kinds, at: fc.nat(bytesMax), bytes: fc.nat(bytesMax), seed: fc.nat(99) }),
    { minLength: 0, maxLength: countMax },
  )

function filled(kind: Kind, seed: number, bytes: number): Buffer {
  if (kind === 'noise') return noise(String(seed), bytes)
  return kind === 'zeros' ? Buffer.alloc(bytes) : Buffer.alloc(bytes, `line ${seed}\n`)
}

function changed(
  before: Uint8Array,
  changes: readonly { kind: Kind; at: number; bytes: number; seed: number }[],
  growsBy: number,
): Buffer {
  const after = Buffer.concat([before, Buffer.alloc(growsBy)])
  for (const { kind, at, bytes, seed } of changes) {
    const start = at % after.byteLength
    filled(kind, seed, Math.min(bytes, after.byteLength - start)).copy(after, start)
  }
  return after
}

/** `days` volumes: the first of runs, each other the one before with some changes, and maybe grown. */
export function volumeHistory(bytesMax: number, daysMax: number): fc.Arbitrary<readonly Buffer[]> {
  const first = fc.record({ bytes: fc.integer({ min: 1, max: bytesMax }), runs: runs(bytesMax, 8) })
  const day = fc.record({
    runs: runs(Math.ceil(bytesMax / 4), 5),
    growsBy: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.nat(Math.ceil(bytesMax / 4))),
  })
  return fc.tuple(first, fc.array(day, { maxLength: daysMax - 1 })).map(([begin, later]) => {
    const days = [changed(Buffer.alloc(begin.bytes), begin.runs, 0)]
    for (const { runs: changes, growsBy } of later) {
      days.push(changed(days.at(-1) ?? Buffer.alloc(0), changes, growsBy))
    }
    return days
  })
}

/** Block sizes, powers of two and others, with a chunk of some of them. */
export const blockSizes = fc.record({
  blockSizeBytes: fc.constantFrom(64, 100, 512, 512 * 3, 4096, 5000),
  blocksPerChunk: fc.integer({ min: 1, max: 9 }),
})
