// What a long night asks of the agent: idle it grows by nothing, and under load with faults its memory and
// its open files are in the evening what they were in the morning.

import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { monotonicMs } from '#src/lib/clock.ts'
import { drivenAgent } from '../support/driven-agent.ts'
import { faultScene, faultsOf, faultyChain } from '../support/fault-chains.ts'
import { rssMib } from '../support/memory.ts'
import { times } from '../support/soak.ts'
import { noise } from '../support/volume-data.ts'
import { testSeed } from '../support/volume-files.ts'

const idleMs = times(20, 600) * 1000
const idleMibMax = 150
const idleGrowthMibMax = 4

const loadMs = times(40, 7200) * 1000
const jobsAtOnce = 8
const faultRate = 0.05
/** A short run is still warming up. */
const growthMibMax = times(64, 24)
const growthFilesMax = times(24, 8)

type Sample = { readonly mib: number; readonly files: number }

async function sampled(pid: number): Promise<Sample> {
  return { mib: await rssMib(pid), files: (await readdir(`/proc/${pid}/fd`)).length }
}

/** One sample after the other, about a thousand in all, until the time is over or `signal` aborts. */
async function watched(
  pid: number,
  durationMs: number,
  signal?: AbortSignal,
): Promise<readonly Sample[]> {
  const samples: Sample[] = []
  const endMs = monotonicMs() + durationMs
  while (monotonicMs() < endMs && signal?.aborted !== true) {
    samples.push(await sampled(pid))
    await sleep(Math.max(200, durationMs / 1000))
  }
  return samples
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0

/** The middle of what was there in each fifth of the time. */
function fifths(samples: readonly Sample[], of: keyof Sample): readonly number[] {
  const length = Math.ceil(samples.length / 5)
  return Array.from({ length: 5 }, (_, part) =>
    median(samples.slice(part * length, (part + 1) * length).map((sample) => sample[of])),
  )
}

/** What the last fifth has more than the second one: in the first one everything is made. */
function growth(parts: readonly number[]): number {
  return (parts.at(-1) ?? 0) - (parts[1] ?? 0)
}

function tell(t: TestContext, samples: readonly Sample[]): void {
  t.diagnostic(`MiB resident in each fifth: ${fifths(samples, 'mib').join(' ')}`)
  t.diagnostic(`open files in each fifth: ${fifths(samples, 'files').join(' ')}`)
}

test('an agent that has worked and is idle has little resident, and not more later', async (t) => {
  const { agent, ...driven } = await drivenAgent(t)
  await driven.backup(await driven.newVolume(noise('idle', 1_000_000)))
  const samples = await watched(agent.pid, idleMs)
  tell(t, samples)
  const mib = fifths(samples, 'mib')
  assert.ok(Math.max(...samples.map((sample) => sample.mib)) < idleMibMax, `${mib} MiB resident`)
  assert.ok(growth(mib) <= idleGrowthMibMax, `${mib} MiB resident`)
  assert.ok(growth(fifths(samples, 'files')) <= 0, 'no file more')
})

test('eight jobs at once, and a store that fails: memory and open files stay flat', async (t) => {
  const seed = testSeed(t)
  const scene = await faultScene(t, seed, jobsAtOnce)
  for (const schedule of scene.schedules) schedule.rate = faultRate
  const endMs = monotonicMs() + loadMs
  let chains = 0
  const worker = async () => {
    while (monotonicMs() < endMs) await faultyChain(scene, `${seed} long ${chains++}`)
  }
  const workers = Promise.all(Array.from({ length: jobsAtOnce }, worker))
  const failed = new AbortController()
  workers.catch(() => failed.abort()) // Told below.
  const samples = await watched(scene.agent.agent.pid, loadMs, failed.signal)
  await workers
  tell(t, samples)
  t.diagnostic(`${chains} chains, ${faultsOf(scene)} faults`)
  assert.ok(chains >= jobsAtOnce && faultsOf(scene) > 0)
  const [mib, files] = [fifths(samples, 'mib'), fifths(samples, 'files')]
  assert.ok(growth(mib) <= growthMibMax, `${mib} MiB resident`)
  assert.ok(growth(files) <= growthFilesMax, `${files} open files`)
})
