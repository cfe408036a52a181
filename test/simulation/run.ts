// Runs the simulation: SEED=… one seed, with its story; COUNT=… that many fresh ones.

import { randomInt } from 'node:crypto'
import process from 'node:process'

import { type Simulated, simulate } from './simulate.ts'

const { SEED: seed = '', COUNT: count = '' } = process.env
const say = (line: string) => process.stdout.write(`${line}\n`)

if (seed === '') await runFresh(Number(count === '' ? 200 : count))
else {
  const { story, ...result } = await simulate(seed)
  for (const line of story) say(line)
  report(result)
}

async function runFresh(wanted: number): Promise<void> {
  const totals = { runs: 0, crashes: 0, virtualSeconds: 0 }
  const from = process.hrtime.bigint()
  const broken: string[] = []
  for (let done = 0; done < wanted; done += 1) {
    const result = await simulate(String(randomInt(2 ** 31)))
    for (const key of ['runs', 'crashes', 'virtualSeconds'] as const) totals[key] += result[key]
    if (result.broken.length === 0) continue
    broken.push(result.seed)
    report(result)
  }
  const ms = Number((process.hrtime.bigint() - from) / 1_000_000n)
  const hours = (totals.virtualSeconds / 3600).toFixed(1)
  say(
    `${wanted} seeds, ${totals.runs} runs of jobs, ${totals.crashes} crashes, ${hours} virtual hours; ` +
      `${(ms / wanted).toFixed(0)} ms a seed; ${broken.length} seeds broke an invariant`,
  )
  if (broken.length > 0) say(`the first: make simulate SEED=${broken[0]}`)
}

function report({ seed: one, broken }: Omit<Simulated, 'story'>): void {
  say(broken.length === 0 ? `seed ${one}: all invariants hold` : `seed ${one}: BROKEN`)
  for (const line of broken) say(`  ${line.slice(0, 1500)}`)
  if (broken.length > 0) process.exitCode = 1
}
