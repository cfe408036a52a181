import { readFile } from 'node:fs/promises'

/** The most memory that a process ever had resident, in MiB, as the kernel kept it. */
export async function peakRssMib(pid: number): Promise<number> {
  return statusMib(pid, 'VmHWM')
}

/** What a process has resident now, in MiB. */
export async function rssMib(pid: number): Promise<number> {
  return statusMib(pid, 'VmRSS')
}

async function statusMib(pid: number, field: 'VmHWM' | 'VmRSS'): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  const kibibytes = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]
  if (kibibytes === undefined) throw new Error(`the kernel tells no ${field} of process ${pid}`)
  return Math.round(Number(kibibytes) / 1024)
}
