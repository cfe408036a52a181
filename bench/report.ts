// The table: on the screen and in docs/benchmarks.md.

import type { Results, RowResult, SideResult } from './results.ts'
import { cinderName, type Sample, type Targets } from './row.ts'
import { mebibyte } from './settings.ts'
import { median } from './statistics.ts'

const heads = [
  'job',
  'who',
  'n',
  'wall s',
  'times faster',
  'must / aim',
  'CPU s',
  "of cinder's",
  'must / aim',
  'peak MiB',
  'must / aim',
  'stored MiB',
  "of cinder's",
  'beside',
] as const

type Medians = {
  readonly wall: number
  readonly cpu: number
  readonly peak: number
  readonly stored: number | null
  readonly facts: Readonly<Record<string, number>>
}

function mediansOf(samples: readonly Sample[]): Medians {
  const of = (pick: (sample: Sample) => number) => median(samples.map(pick))
  const names = Object.keys(samples[0]?.facts ?? {})
  return {
    wall: of((sample) => sample.wallSeconds),
    cpu: of((sample) => sample.cpuSeconds),
    peak: of((sample) => sample.peakMib),
    stored: samples[0]?.storedBytes === null ? null : of((sample) => sample.storedBytes ?? 0),
    facts: Object.fromEntries(names.map((name) => [name, of(({ facts }) => facts?.[name] ?? 0)])),
  }
}

const missed = '✗'

const digits = (value: number) => (value >= 100 ? 0 : value >= 10 ? 1 : 2)
const shown = (value: number) =>
  Number.isInteger(value) ? String(value) : value.toFixed(digits(value))

/** The value, marked where it misses what it must be. */
function marked(value: number | null, must: number | undefined, isAtLeast: boolean): string {
  if (value === null) return ''
  const isMissed = must !== undefined && (isAtLeast ? value < must : value > must)
  return `${shown(value)}${isMissed ? ` ${missed}` : ''}`
}

const wanted = (target: Targets['wall'], sign: string) =>
  target === undefined
    ? ''
    : `${sign} ${target.must ?? '–'}${target.aim === undefined ? '' : ` / ${target.aim}`}`

function factCell(medians: Medians, targets: Targets): string {
  const cells = Object.entries(medians.facts).map(([name, value]) => {
    const target = targets.facts?.[name]
    if (target === undefined) return `${name} ${shown(value)}`
    const isLeast = 'min' in target
    const limit = isLeast ? target.min : target.max
    const text = marked(value, limit, isLeast)
    return `${name} ${text} (${isLeast ? '≥' : '≤'} ${limit})`
  })
  return cells.join('; ')
}

function sideLine(row: RowResult, side: SideResult, cinder: Medians | null): readonly string[] {
  const { targets, samples } = side
  const own = mediansOf(samples)
  const isOurs = side.name !== cinderName
  const against = (pick: (medians: Medians) => number | null, isFaster: boolean) => {
    const [theirs, ours] = [cinder === null ? null : pick(cinder), pick(own)]
    if (!isOurs || theirs === null || ours === null || theirs === 0 || ours === 0) return null
    return isFaster ? theirs / ours : ours / theirs
  }
  return [
    row.name,
    side.name,
    String(samples.length),
    shown(own.wall),
    marked(
      against(({ wall }) => wall, true),
      targets.wall?.must,
      true,
    ),
    wanted(targets.wall, '≥'),
    shown(own.cpu),
    marked(
      against(({ cpu }) => cpu, false),
      targets.cpu?.must,
      false,
    ),
    wanted(targets.cpu, '≤'),
    marked(own.peak, targets.peak?.must, false),
    wanted(targets.peak, '≤'),
    own.stored === null ? '' : shown(own.stored / mebibyte),
    storedCell(
      against(({ stored }) => stored, false),
      targets,
    ),
    factCell(own, targets),
  ]
}

function storedCell(ratio: number | null, { stored }: Targets): string {
  if (ratio === null) return ''
  const isMissed = stored?.must !== undefined && ratio > stored.must
  const limit = stored?.must === undefined ? '' : ` (≤ ${stored.must})`
  return `${ratio.toFixed(3)}${isMissed ? ` ${missed}` : ''}${limit}`
}

function rowLines(row: RowResult, cores: number): readonly (readonly string[])[] {
  const blank = (cells: readonly string[]) => heads.map((_, index) => cells[index] ?? '')
  if (row.failure !== null) return [blank([row.name, `not measured: ${row.failure}`])]
  const peer = row.sides.find(({ name }) => name === cinderName)
  const cinder = peer === undefined ? null : mediansOf(peer.samples)
  const lines = row.sides.map((side) => sideLine(row, side, cinder))
  if (row.floorSeconds === null) return lines
  const floor = row.floorSeconds
  const limit = blank([row.name, 'raw limit', '', shown(floor / cores), '', '', shown(floor)])
  return [...lines, limit]
}

function tableOf(results: Results): readonly (readonly string[])[] {
  return [heads, ...results.rows.flatMap((row) => rowLines(row, results.machine.cores))]
}

const resticHeads = ['job', 'wall s', 'CPU s', 'peak MiB', 'stored MiB'] as const

function resticTable({ restic }: Results): readonly (readonly string[])[] {
  const lines = restic.map(({ job, wallSeconds, cpuSeconds, peakMib, storedMib }) => [
    job,
    shown(wallSeconds),
    shown(cpuSeconds),
    shown(peakMib),
    storedMib === null ? '' : shown(storedMib),
  ])
  return [resticHeads, ...lines]
}

/** Columns under one another. */
export function screenOf(results: Results): string {
  const tables = [tableOf(results), ...(results.restic.length > 0 ? [resticTable(results)] : [])]
  return tables
    .map((lines) => {
      const widths = (lines[0] ?? []).map((_, column) =>
        Math.max(...lines.map((line) => line[column]?.length ?? 0)),
      )
      return lines.map((line) =>
        line
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join('  ')
          .trimEnd(),
      )
    })
    .map((lines) => `${lines.join('\n')}\n`)
    .join('\n')
}

function markdownTable(lines: readonly (readonly string[])[]): string {
  const [first = [], ...rest] = lines
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [row(first), `|${'---|'.repeat(first.length)}`, ...rest.map(row)].join('\n')
}

/** docs/benchmarks.md. */
export function documentOf(results: Results): string {
  const { machine, mebibytes } = results
  const notes = results.rows.flatMap(({ name, note }) =>
    note === null ? [] : [`- ${name}: ${note}.`],
  )
  const commits = [...new Set(results.rows.map(({ commit }) => commit))]
  const dates = results.rows.map(({ date }) => date).toSorted()
  const restic =
    results.restic.length === 0
      ? ''
      : `\n## restic\n\nAnother format, the same volumes, by standard input into a local repository.\n\n${markdownTable(resticTable(results))}\n`
  return `# Benchmarks

Written by \`make bench\`; not by hand. Our agent, through the message bus and end to end, beside Debian's
real cinder-backup driver: the same volumes, the same store, in turns, medians. Figures of one machine at
one time mean little without the column beside them.

Measured ${dates[0]?.slice(0, 10)} to ${dates.at(-1)?.slice(0, 10)} at ${commits.map((commit) => `\`${commit}\``).join(', ')}, on ${machine.cores} cores of ${machine.cpu},
${machine.memoryGib} GiB, kernel ${machine.kernel}, Node ${machine.node}, python3-cinder ${machine.cinder}, restic ${machine.restic}.
Volumes are of ${mebibytes} MiB where the row says nothing else.

## The table

${missed} marks what misses its must. *times faster* is cinder's wall by ours, *of cinder's* ours by cinder's. The
targets are meant for \`ours\`, which is \`verify_upload = off\`; *verified* is the same with \`on\`; restores and
deletes do not know it. *no accelerator* is an agent without native code. *raw limit* is what the best primitive of each kind costs,
added up: reading, digests, codec, wire and disk, without anything that ties them together; its wall is
its CPU by the number of cores.

${markdownTable(tableOf(results))}

${notes.join('\n')}
${restic}
## How it is measured

- **Data**: \`bench/make_data.py\`, the same bytes for the same seed on the same machine: *mixed* is files of
  /usr (60 %), noise (10 %) and holes (30 %); *5 % changed* has a page changed in 5 % of its 32 KiB blocks.
  They are in the page cache.
- **Store**: \`bench/native/sink.c\`, on loopback, in memory, which costs next to nothing so that a client's
  own cost shows; or the Swift of \`scripts/services\`.
- **cinder**: the driver's own part in a fresh process (\`bench/peer_cinder.py\`); its start, the bus and the
  database cost it nothing. Peak memory is the process's.
- **Ours**: an agent that runs and has done one small job; one for each setting, side by side. Wall is from
  the \`.start\` event's time to the \`.end\` event's; CPU is user and system time of the process, its threads and
  its children from before the request until after the last event; peak memory is \`VmHWM\`, reset before each
  job.
- **Restores** go onto a new sparse file, and are compared with the volume afterwards.
- Before each job the disks are synced.

## Again

    make bench                          # all of it: some hours
    make bench ONLY='full, z' ROUNDS=3  # rows by their name; the table keeps the others
    make bench MIB=64 ROUNDS=1          # does it work?
    make bench ONLY=sparse-1tib

\`SLOW_ROUNDS\` (1) is the number of rounds with real Swift, \`OBJECTS\` (20000), \`CHAIN\` (20) and \`SPARSE_GIB\` (1024)
the sizes of those rows. Volumes are kept in \`CBA_BENCH_DATA\`, by default \`cba-bench-data\` in the temporary
folder. Samples are in \`bench/build/results-<MIB>.json\`; only those of 1024 MiB become this page. \`CBA_BENCH_AGENT\`
names the command of another agent to measure.
`
}
