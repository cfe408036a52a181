// restic beside us: another format, the same data. A peer in memory and in what nothing costs.

import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'

import { mebibyte } from './settings.ts'
import { median } from './statistics.ts'
import { assertSame, settleDisks, volumeFile } from './volumes.ts'

const run = promisify(execFile)
const meter = path.join(import.meta.dirname, 'measure_command.py')

export type ResticResult = {
  readonly job: string
  readonly wallSeconds: number
  readonly cpuSeconds: number
  readonly peakMib: number
  readonly storedMib: number | null
}

type Cost = Pick<ResticResult, 'wallSeconds' | 'cpuSeconds' | 'peakMib'>

const compressions = ['off', 'auto'] as const

/** Backup, the same again and back again, into a local repository; medians. */
export async function measureRestic(rounds: number): Promise<readonly ResticResult[]> {
  const results = new Map<string, ResticResult[]>()
  for (let round = 0; round < rounds; round += 1) {
    for (const compression of compressions) {
      for (const result of await oneRound(compression)) {
        results.set(result.job, [...(results.get(result.job) ?? []), result])
      }
    }
  }
  return [...results].map(([job, those]) => ({
    job,
    wallSeconds: median(those.map((one) => one.wallSeconds)),
    cpuSeconds: median(those.map((one) => one.cpuSeconds)),
    peakMib: median(those.map((one) => one.peakMib)),
    storedMib: those[0]?.storedMib ?? null,
  }))
}

async function oneRound(compression: 'off' | 'auto'): Promise<readonly ResticResult[]> {
  const folder = await mkdtemp(path.join(tmpdir(), 'cba-bench-restic-'))
  const repository = path.join(folder, 'repository')
  const restic = ['restic', '--repo', repository, '--compression', compression, '--no-cache']
  const file = await volumeFile('mixed')
  const changed = await volumeFile('mixed5')
  const env = { PATH: '/usr/bin:/bin', HOME: folder, RESTIC_PASSWORD: 'bench' }
  const back = path.join(folder, 'back')

  /** restic with its standard input and output from and to these files. */
  async function measured(args: readonly string[], input: string, output: string): Promise<Cost> {
    await settleDisks()
    const shell = ['/bin/sh', '-c', 'from=$0 to=$1; shift; exec "$@" <"$from" >"$to"']
    const command = [...shell, input, output, ...restic, ...args]
    const { stderr } = await run('/usr/bin/python3', [meter, ...command], { env })
    return JSON.parse(stderr.trim().split('\n').at(-1) ?? '') as Cost
  }
  // By its standard input: else it would believe the file's times, and read nothing a second time.
  const backup = (source: string) =>
    measured(['backup', '--stdin', '--stdin-filename', 'volume', '--quiet'], source, '/dev/null')
  const stored = async () => {
    const { stdout } = await run('du', ['-sb', repository])
    return Number(stdout.split('\t')[0]) / mebibyte
  }

  try {
    await run('restic', restic.slice(1).concat('init'), { env })
    const full = await backup(file)
    const fullMib = await stored()
    const again = await backup(file)
    const incremental = await backup(changed)
    const restored = await measured(['dump', 'latest', 'volume'], '/dev/null', back)
    await assertSame(changed, back)
    const named = (job: string, cost: Cost, storedMib: number | null) => ({
      job: `restic ${compression}: ${job}`,
      ...cost,
      storedMib,
    })
    return [
      named('full', full, fullMib),
      named('nothing changed', again, null),
      named('5 % changed', incremental, (await stored()) - fullMib),
      named('restore', restored, null),
    ]
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
