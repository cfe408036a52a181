import { readFile } from 'node:fs/promises'

/** The most memory that a process ever had resident, in MiB, as the kernel kept it. */
export async function peakRssMib(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  const kibibytes = /^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]
  if (kibibytes === undefined) throw new Error(`the kernel tells no peak of process ${pid}`)
  return Math.round(Number(kibibytes) / 1024)
}
