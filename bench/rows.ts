// Every row with its targets, in the order of the table.

import { crowdRow } from './crowd-row.ts'
import type { Floor } from './limits.ts'
import { chainRow, restoreRow } from './restore-rows.ts'
import type { Row, Targets } from './row.ts'
import { chainLength, crowdJobs, crowdMemoryMib, deletedObjects, sparseGib } from './settings.ts'
import { fullRow, incrementalRow } from './sink-rows.ts'
import { deleteRow, sparseRow } from './swift-rows.ts'

/** A row, and what its job costs at the least where that can be added up. */
type Entry = { readonly row: Row; readonly floor: Floor | null }

/** `[must, aim]`, or must alone. */
function targets(
  wall: readonly [number, number?],
  cpu: readonly [number, number?] | null,
  peak: readonly [number, number?],
  stored?: number,
): Targets {
  const of = ([must, aim]: readonly [number, number?]) =>
    aim === undefined ? { must } : { must, aim }
  return {
    wall: of(wall),
    peak: of(peak),
    ...(cpu === null ? {} : { cpu: of(cpu) }),
    ...(stored === undefined ? {} : { stored: { must: stored } }),
  }
}

const full = (
  codec: 'none' | 'zlib' | 'zstd' | 'bz2',
  aims: Targets,
  unaccelerated?: Targets,
): Entry => ({
  row: fullRow({
    name: `full, ${codec}`,
    kind: 'mixed',
    codec,
    targets: aims,
    ...(unaccelerated === undefined ? {} : { unaccelerated }),
  }),
  floor: { job: 'full', codec },
})

const restore = (codec: 'none' | 'zlib' | 'zstd' | 'bz2', aims: Targets): Entry => ({
  row: restoreRow(`restore, ${codec}`, codec, aims),
  floor: { job: 'restore', codec },
})

const mostlyEqual = 1.01
const fastLarger = 1.09
const changed = 0.05

export const entries: readonly Entry[] = [
  full('none', targets([4, 6], [0.4, 0.25], [250, 150])),
  full(
    'zlib',
    targets([4.2, 5], [0.47, 0.4], [300, 230], mostlyEqual),
    targets([2.7], [0.72], [300, 230], mostlyEqual),
  ),
  {
    row: fullRow({
      name: 'full, zlib fast',
      kind: 'mixed',
      codec: 'zlib',
      ownOptions: { compression_effort: 'fast' },
      targets: targets([12, 17], [0.16, 0.1], [300, 230], fastLarger),
    }),
    floor: { job: 'full', codec: 'fastZlib' },
  },
  full('zstd', targets([1.7, 2.4], [0.92, 0.65], [420, 270])),
  full('bz2', targets([1.8, 2.7], [1, 0.72], [320])),
  {
    row: incrementalRow({
      name: 'incremental, nothing changed',
      kind: 'mixed',
      codec: 'zlib',
      targets: targets([3.5, 6], [0.55, 0.3], [250, 110]),
      unaccelerated: targets([2.4], null, [250, 110]),
    }),
    floor: { job: 'incremental', codec: 'zlib', share: 0 },
  },
  {
    row: incrementalRow({
      name: 'incremental, 5 % changed',
      kind: 'mixed5',
      codec: 'zlib',
      targets: targets([2.5, 4], [0.75], [280, 200]),
    }),
    floor: { job: 'incremental', codec: 'zlib', share: changed },
  },
  {
    row: incrementalRow({
      name: 'incremental, 5 % changed, 25 ms a PUT',
      kind: 'mixed5',
      codec: 'zlib',
      delayMs: 25,
      targets: targets([4, 8], [0.75], [280, 200]),
    }),
    floor: { job: 'incremental', codec: 'zlib', share: changed },
  },
  {
    row: fullRow({
      name: 'full, all zeros, zlib',
      kind: 'zero',
      codec: 'zlib',
      targets: targets([11, 50], [0.2, 0.02], [230]),
    }),
    floor: null,
  },
  {
    row: fullRow({
      name: 'full, random, zlib',
      kind: 'random',
      codec: 'zlib',
      targets: targets([8, 17], [0.15], [250]),
    }),
    floor: { job: 'full', codec: 'zlib', kind: 'random' },
  },
  restore('none', targets([2.5, 4], [0.55], [300])),
  restore('zstd', targets([2.2, 3.5], [0.78], [300])),
  restore('zlib', targets([4.5, 6], [0.35], [300])),
  restore('bz2', targets([1.5, 2.2], [1.1], [300])),
  {
    row: chainRow(`restore of a chain of ${chainLength}`, {
      peak: { must: 300 },
      facts: { fetched: { max: 1.05 } },
    }),
    floor: null,
  },
  {
    row: sparseRow(`sparse-${sparseGib === 1024 ? '1tib' : `${sparseGib}gib`}, real Swift`, {
      peak: { must: 300 },
      facts: { minutes: { max: 15 } },
    }),
    floor: null,
  },
  {
    row: deleteRow(
      `delete of ${deletedObjects} objects, real Swift`,
      0,
      targets([2, 4], null, [200]),
    ),
    floor: null,
  },
  {
    row: deleteRow(
      `delete of ${deletedObjects} objects, real Swift, 20 ms an answer`,
      20,
      targets([8, 15], null, [200]),
    ),
    floor: null,
  },
  {
    row: crowdRow(`${crowdJobs} jobs at once in ${crowdMemoryMib} MiB`, {
      facts: { ended: { min: crowdJobs }, 'OOM kills': { max: 0 }, fairness: { min: 0.95 } },
    }),
    floor: null,
  },
]
