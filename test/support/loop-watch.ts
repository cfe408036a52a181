// Loaded before the agent (NODE_OPTIONS=--import): watches the event loop of its main thread, and writes
// what it saw to CBA_LOOP_WATCH at SIGUSR2 and at the end.

import { readFileSync, writeFileSync } from 'node:fs'
import { createHistogram, monitorEventLoopDelay } from 'node:perf_hooks'
import process from 'node:process'
import { isMainThread } from 'node:worker_threads'

const file = process.env['CBA_LOOP_WATCH']
const resolutionMs = 5

type Percentiles = { readonly percentile: (percent: number) => number; readonly max: number }

const ms = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6)

function summary({ percentile, max }: Percentiles, lessMs: number) {
  const [p50, p99, p999] = [50, 99, 99.9].map((percent) => ms(percentile(percent)) - lessMs)
  return { p50, p99, p999, max: ms(max) - lessMs }
}

/** Nanoseconds that this thread could have run and had no core. */
function waitedForCore(): number {
  return Number(readFileSync('/proc/thread-self/schedstat', 'utf8').split(' ')[1])
}

if (isMainThread && file !== undefined) {
  const delays = monitorEventLoopDelay({ resolution: resolutionMs })
  // The same without the time when others had the cores: what the loop itself is to blame for.
  const own = createHistogram()
  let last = { atMs: performance.now(), waited: waitedForCore() }
  const timer = setInterval(() => {
    const now = { atMs: performance.now(), waited: waitedForCore() }
    const late = (now.atMs - last.atMs - resolutionMs) * 1e6 - (now.waited - last.waited)
    own.record(Math.max(1, Math.round(late)))
    last = now
  }, resolutionMs)
  timer.unref()
  const write = () => {
    const total = {
      percentile: (percent: number) => delays.percentile(percent),
      max: delays.max,
    }
    const blamed = { percentile: (percent: number) => own.percentile(percent), max: own.max }
    const seen = { count: delays.count, all: summary(total, resolutionMs), own: summary(blamed, 0) }
    writeFileSync(file, JSON.stringify(seen))
  }
  process.on('SIGUSR2', () => {
    write()
    delays.reset()
    own.reset()
  })
  process.on('exit', write)
  delays.enable()
}
