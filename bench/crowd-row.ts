// Many jobs at once in little memory.

import { randomUUID } from 'node:crypto'
import process from 'node:process'
import { type MemoryCgroup, memoryCgroup } from '../test/support/memory-cgroup.ts'
import { type BenchAgent, startBenchAgent } from './bench-agent.ts'
import type { JobEvent } from './job-bus.ts'
import { startSink } from './native-tools.ts'
import { cpuSecondsOf, peakMibOf } from './process-usage.ts'
import { type Row, type Sample, type Targets, variants } from './row.ts'
import { crowdJobs, crowdMemoryMib, rounds } from './settings.ts'
import { withStored } from './sink-rows.ts'
import { fairness } from './statistics.ts'
import { volumeFile } from './volumes.ts'

export function crowdRow(name: string, targets: Targets): Row {
  return {
    name,
    rounds,
    note: `fairness is Jain's index of what each job had done when the first one ended`,
    async prepare(bench, stack) {
      const file = await volumeFile('mixed')
      return variants(targets).map((variant) => ({
        name: variant.name,
        targets: variant.targets,
        async run() {
          await using own = stack.use(new AsyncDisposableStack())
          const cgroup = await memoryCgroup(own, crowdMemoryMib)
          const sink = await startSink(own)
          const agent = await startBenchAgent(bench, own, {
            storeUrl: `${sink.origin}/v1/AUTH_`,
            ownOptions: variant.ownOptions,
            starter: ['/bin/sh', '-c', 'echo $$ >"$0" && exec "$@"', cgroup.procsFile],
          })
          return await withStored(sink, () => runCrowd(agent, cgroup, file))
        },
      }))
    },
  }
}

async function runCrowd(
  agent: BenchAgent,
  cgroup: MemoryCgroup,
  file: string,
): Promise<Omit<Sample, 'storedBytes'>> {
  const volumeIds = Array.from({ length: crowdJobs }, () => randomUUID())
  for (const volumeId of volumeIds) await agent.attach(volumeId, file)
  const cpuBefore = cpuSecondsOf([agent.pid])
  const jobs = await Promise.allSettled(volumeIds.map((volumeId) => agent.backUp(volumeId)))
  const ended = jobs.flatMap((job) => (job.status === 'fulfilled' ? [job.value.events] : []))
  const [first] = jobs.flatMap((job) => (job.status === 'rejected' ? [String(job.reason)] : []))
  if (first !== undefined) process.stderr.write(`a job of the crowd failed: ${first}\n`)
  const starts = ended.map((events) => events[0]?.seconds ?? 0)
  const ends = ended.map((events) => events.at(-1)?.seconds ?? 0)
  const firstEnd = Math.min(...ends)
  return {
    wallSeconds: Math.max(...ends) - Math.min(...starts),
    cpuSeconds: cpuSecondsOf([agent.pid]) - cpuBefore,
    peakMib: peakMibOf(agent.pid),
    facts: {
      ended: ended.length,
      'OOM kills': await cgroup.oomKills(),
      fairness: fairness(ended.map((events) => shareAt(firstEnd, events))),
    },
  }
}

/** How much of its job was done at a time: between two events as if it went evenly. */
function shareAt(seconds: number, events: readonly JobEvent[]): number {
  const points = events.map(({ type, seconds: at, payload }) => {
    const { bytes_done: done, bytes_total: total } = payload
    if (type.endsWith('.start')) return { at, share: 0 }
    return { at, share: type.endsWith('.end') ? 1 : Number(done) / Number(total) }
  })
  const after = points.findIndex(({ at }) => at >= seconds)
  const [from, to] = [points[Math.max(0, after - 1)], points[after]]
  if (from === undefined || to === undefined) return 0
  if (to.at === from.at) return to.share
  return from.share + ((to.share - from.share) * (seconds - from.at)) / (to.at - from.at)
}
