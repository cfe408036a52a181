import { readFileSync } from 'node:fs'

import { monotonicMs } from '#src/lib/clock.ts'

/** How long this thread could have run and had no core, in milliseconds. Source: proc(5), schedstat. */
function waitedMs(): number {
  return Number(readFileSync('/proc/thread-self/schedstat', 'utf8').split(' ')[1]) / 1e6
}

/** Whoever waits longer than this does hang, whatever the machine has to do. */
const wallMsMax = 30_000

/**
 * A watch that starts now. It gives the milliseconds that passed, without those in which other processes had
 * the cores, and no more than this process worked in them, its helper threads included: a machine at its
 * limit is no hang of ours.
 */
export function ownTime(): () => number {
  const [startMs, startWaitedMs, startCpu] = [monotonicMs(), waitedMs(), process.cpuUsage()]
  return () => {
    const passedMs = monotonicMs() - startMs
    if (passedMs > wallMsMax) return passedMs
    const { user, system } = process.cpuUsage(startCpu)
    return Math.min(passedMs - (waitedMs() - startWaitedMs), (user + system) / 1000)
  }
}
