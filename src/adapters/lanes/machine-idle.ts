import { cpus } from 'node:os'

/** A meter of the machine: the part of its cores' time that nobody used since the last call, 0 to 1. */
export function machineIdle(): () => number {
  let before = times()
  return () => {
    const now = times()
    const all = now.all - before.all
    const idle = now.idle - before.idle
    before = now
    return all > 0 ? idle / all : 0
  }
}

function times(): { readonly idle: number; readonly all: number } {
  let [idle, all] = [0, 0]
  for (const { times: one } of cpus()) {
    idle += one.idle
    all += one.user + one.nice + one.sys + one.idle + one.irq
  }
  return { idle, all }
}
