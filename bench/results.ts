// The samples of all runs with volumes of one size: a run replaces the rows that it ran.

import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, release, totalmem } from 'node:os'
import path from 'node:path'
import process from 'node:process'

import type { ResticResult } from './restic.ts'
import type { Sample, Targets } from './row.ts'
import { agentCommand, buildFolder, gibibyte, mebibytes } from './settings.ts'

export type SideResult = {
  readonly name: string
  readonly targets: Targets
  readonly samples: readonly Sample[]
}

export type RowResult = {
  readonly name: string
  readonly date: string
  /** Of the agent. */
  readonly commit: string
  readonly note: string | null
  /** CPU seconds of the best primitives added up. */
  readonly floorSeconds: number | null
  readonly sides: readonly SideResult[]
  /** Why there are no samples. */
  readonly failure: string | null
}

export type Results = {
  readonly mebibytes: number
  readonly machine: {
    readonly cpu: string
    readonly cores: number
    readonly memoryGib: number
    readonly kernel: string
    readonly node: string
    readonly cinder: string
    readonly restic: string
  }
  readonly rows: readonly RowResult[]
  readonly restic: readonly ResticResult[]
}

const file = path.join(buildFolder, `results-${mebibytes}.json`)

const printed = (command: string, ...args: string[]) =>
  execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()

const packageVersion = (name: string) => printed('dpkg-query', '-W', name).split('\t')[1] ?? ''

/** Those of before; none where there are none. */
export function loadResults(): Results {
  let before: Partial<Results> = {}
  try {
    before = JSON.parse(readFileSync(file, 'utf8')) as Results
  } catch {
    // The first run.
  }
  const machine = {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryGib: Math.round(totalmem() / gibibyte),
    kernel: release(),
    node: process.version,
    cinder: packageVersion('python3-cinder'),
    restic: packageVersion('restic'),
  }
  return { mebibytes, machine, rows: before.rows ?? [], restic: before.restic ?? [] }
}

export function saveResults(results: Results): void {
  mkdirSync(buildFolder, { recursive: true })
  writeFileSync(file, `${JSON.stringify(results, null, 1)}\n`)
}

/** With the row in the place of the one of its name, in the order of `names`. */
export function withRow(results: Results, row: RowResult, names: readonly string[]): Results {
  const rows = [...results.rows.filter(({ name }) => name !== row.name), row]
  rows.sort((one, other) => names.indexOf(one.name) - names.indexOf(other.name))
  return { ...results, rows: rows.filter(({ name }) => names.includes(name)) }
}

/** What is measured: a commit of the agent, and whether files differ from it. */
export function agentCommit(): string {
  const checkout = path.dirname(path.dirname(agentCommand))
  try {
    return printed('git', '-C', checkout, 'describe', '--always', '--dirty', '--exclude=*')
  } catch {
    return 'unknown'
  }
}
