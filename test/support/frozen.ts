import { readFile } from 'node:fs/promises'
import process from 'node:process'

import { serviceScript } from './services.ts'

/** Stops a process and its children where they are; going on is for `thaw`. */
export async function freeze(pid: number): Promise<{ thaw(): void }> {
  const pids = [pid, ...(await childrenOf(pid))]
  for (const one of pids) process.kill(one, 'SIGSTOP')
  return {
    thaw() {
      for (const one of pids) {
        try {
          process.kill(one, 'SIGCONT')
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error // It has ended meanwhile.
        }
      }
    },
  }
}

/** The process of a service of `scripts/services`. */
export async function servicePid(name: string): Promise<number> {
  const told = await serviceScript()('status', name)
  const [, pid] = /\(pid (\d+)\)/.exec(told) ?? []
  if (pid === undefined) throw new Error(`${name} does not run: ${told}`)
  return Number(pid)
}

async function childrenOf(pid: number): Promise<readonly number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')
  const own = text.split(' ').filter(Boolean).map(Number)
  return [...own, ...(await Promise.all(own.map(childrenOf))).flat()]
}
