// What a run of the benchmark may be told, by variables of `make`.

import { tmpdir } from 'node:os'
import path from 'node:path'
import process from 'node:process'

import { checkout } from '../test/support/services.ts'

const numberOf = (name: string, otherwise: number) => Number(process.env[name] || otherwise)

export const mebibyte = 2 ** 20
export const gibibyte = 2 ** 30

/** Of the volumes. The targets are meant for 1024. */
export const mebibytes = numberOf('MIB', 1024)
export const rounds = numberOf('ROUNDS', 5)
/** Of the rows that take a quarter of an hour a round: those with a real Swift. */
export const slowRounds = numberOf('SLOW_ROUNDS', 1)
/** Rows to run; all without it. */
export const only = new RegExp(process.env['ONLY'] || '.', 'i')

export const chainLength = numberOf('CHAIN', 20)
export const deletedObjects = numberOf('OBJECTS', 20_000)
export const sparseGib = numberOf('SPARSE_GIB', 1024)
export const crowdJobs = 8
export const crowdMemoryMib = 512

/** The agent to measure: this checkout's, or that of another one. */
export const agentCommand =
  process.env['CBA_BENCH_AGENT'] || path.join(checkout, 'bin/cinder-backup-agent')

/** Volumes are kept here: they take longer to make than to back up. */
export const dataFolder = process.env['CBA_BENCH_DATA'] || path.join(tmpdir(), 'cba-bench-data')

/** What the benchmark builds, and the samples of its runs. */
export const buildFolder = path.join(checkout, 'bench/build')
