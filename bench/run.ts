// Our agent, through the bus and end to end, beside Debian's real cinder driver. `make bench` runs it;
// docs/benchmarks.md, which it writes, tells how each thing is measured.

import { mkdirSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import path from 'node:path'
import process from 'node:process'

import { checkout } from '../test/support/services.ts'
import type { Bench } from './bench.ts'
import { type Floor, type FloorOf, measureLimits } from './limits.ts'
import { documentOf, screenOf } from './report.ts'
import { measureRestic } from './restic.ts'
import {
  agentCommit,
  loadResults,
  type Results,
  type RowResult,
  saveResults,
  withRow,
} from './results.ts'
import type { Row, Sample } from './row.ts'
import { entries } from './rows.ts'
import { buildFolder, dataFolder, mebibyte, mebibytes, only, rounds } from './settings.ts'

const meantMebibytes = 1024

const say = (text: string) => process.stderr.write(`${text}\n`)

function shortly({ wallSeconds, cpuSeconds, peakMib }: Sample): string {
  return `${wallSeconds.toFixed(2)} s, CPU ${cpuSeconds.toFixed(2)} s, ${Math.round(peakMib)} MiB`
}

/** What the row in hand has started. */
let started = new AsyncDisposableStack()

/** All sides in turns, round after round. */
async function runRow(row: Row, bench: Bench): Promise<RowResult['sides']> {
  await using stack = new AsyncDisposableStack()
  started = stack
  const sides = await row.prepare(bench, stack)
  const samples = new Map<string, Sample[]>(sides.map(({ name }) => [name, []]))
  for (let round = 1; round <= row.rounds; round += 1) {
    for (const { name, run } of sides) {
      const sample = await run()
      samples.get(name)?.push(sample)
      say(`  ${round}/${row.rounds} ${name}: ${shortly(sample)}`)
    }
  }
  return sides.map(({ name, targets }) => ({ name, targets, samples: samples.get(name) ?? [] }))
}

async function measureRow(
  row: Row,
  floor: Floor | null,
  floorOf: FloorOf,
  bench: Bench,
): Promise<RowResult> {
  say(`\n${row.name}`)
  const result = {
    name: row.name,
    date: new Date().toISOString(),
    commit: agentCommit(),
    note: row.note ?? null,
    floorSeconds: floor === null ? null : floorOf(floor),
  }
  try {
    return { ...result, sides: await runRow(row, bench), failure: null }
  } catch (error) {
    process.exitCode = 1
    const failure = error instanceof Error ? error.message : String(error)
    say(`  failed: ${failure}`)
    return { ...result, sides: [], failure: failure.split('\n')[0] ?? '' }
  }
}

/** A terminal sends its signal more than once, through make and by itself. */
function endEarly(): void {
  if (started.disposed) return
  say('ending what was started')
  void started
    .disposeAsync()
    .catch((error) => say(String(error)))
    .then(() => rm(volumes, { recursive: true, force: true }))
    .then(() => process.exit(1))
}

function publish(results: Results): void {
  saveResults(results)
  const isMeant = mebibytes === meantMebibytes
  const folder = isMeant ? path.join(checkout, 'docs') : buildFolder
  writeFileSync(path.join(folder, 'benchmarks.md'), documentOf(results))
}

mkdirSync(dataFolder, { recursive: true })
const volumes = await mkdtemp(path.join(dataFolder, 'run-'))
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, endEarly)
try {
  const bench = { volumes, volumeBytes: mebibytes * mebibyte }
  const names = entries.map(({ row }) => row.name)
  let results = loadResults()
  const chosen = entries.filter(({ row }) => only.test(row.name))
  const needsFloor = chosen.some(({ floor }) => floor !== null)
  const floorOf = needsFloor ? await measureLimits(bench) : () => 0
  for (const { row, floor } of chosen) {
    results = withRow(results, await measureRow(row, floor, floorOf, bench), names)
    publish(results)
  }
  if (only.test('restic')) {
    say('\nrestic')
    results = { ...results, restic: await measureRestic(rounds) }
    publish(results)
  }
  process.stdout.write(`\n${screenOf(results)}`)
} finally {
  await rm(volumes, { recursive: true, force: true })
}
