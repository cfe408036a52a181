import { readdirSync, readFileSync, writeFileSync } from 'node:fs'

const ticksPerSecond = 100 // USER_HZ, which is the same everywhere.

type Stat = { readonly parent: number; readonly ticks: number }

/** utime, stime and those of children that were waited for; null where the process is gone. */
function statOf(pid: number): Stat | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = text
      .slice(text.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number)
    const ticks = fields.slice(11, 15).reduce((sum, one) => sum + one, 0)
    return { parent: fields[1] ?? 0, ticks }
  } catch {
    return null
  }
}

/** User and system time of processes, their threads and all that they ever started. */
export function cpuSecondsOf(roots: readonly number[]): number {
  const stats = new Map<number, Stat>()
  for (const name of readdirSync('/proc')) {
    const stat = /^\d+$/.test(name) ? statOf(Number(name)) : null
    if (stat !== null) stats.set(Number(name), stat)
  }
  const isOurs = (pid: number): boolean => {
    const stat = stats.get(pid)
    return roots.includes(pid) || (stat !== undefined && stat.parent > 1 && isOurs(stat.parent))
  }
  const ticks = [...stats].filter(([pid]) => isOurs(pid)).map(([, stat]) => stat.ticks)
  return ticks.reduce((sum, one) => sum + one, 0) / ticksPerSecond
}

/** From now on the process's peak is that of what comes. */
export function forgetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5')
}

export function peakMibOf(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024
}
