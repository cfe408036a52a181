import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'

/** A control group that has so much memory and no more. */
export type MemoryCgroup = {
  /** Whoever writes its pid here belongs to it. */
  readonly procsFile: string
  /** How many of its processes the kernel has killed for want of memory. */
  oomKills(): Promise<number>
}

const root = '/sys/fs/cgroup'
const mebibyte = 1_048_576

/** Of whichever version of cgroups the machine has. Rejects, and says why, where there is none to be had. */
export async function memoryCgroup(
  stack: AsyncDisposableStack,
  mebibytes: number,
): Promise<MemoryCgroup> {
  const isUnified = existsSync(path.join(root, 'cgroup.controllers'))
  const folder = path.join(
    isUnified ? root : `${root}/memory`,
    `cba-${process.pid}-${randomUUID()}`,
  )
  try {
    await mkdir(folder)
    stack.defer(() => removed(folder))
    const limit = isUnified ? 'memory.max' : 'memory.limit_in_bytes'
    await writeFile(path.join(folder, limit), String(mebibytes * mebibyte))
    if (isUnified) await writeFile(path.join(folder, 'memory.swap.max'), '0').catch(() => {})
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new Error(`no memory cgroup can be made here (it takes root): ${why}`, { cause })
  }
  return {
    procsFile: path.join(folder, 'cgroup.procs'),
    async oomKills() {
      const file = path.join(folder, isUnified ? 'memory.events' : 'memory.oom_control')
      return Number(/^oom_kill (\d+)$/m.exec(await readFile(file, 'utf8'))?.[1] ?? 0)
    },
  }
}

/** The kernel is done with its last process a moment after that has ended. */
async function removed(folder: string): Promise<void> {
  for (let tries = 50; tries > 0; tries -= 1) {
    const isGone = await rmdir(folder).then(
      () => true,
      () => false,
    )
    if (isGone) return
    await sleep(100)
  }
}
