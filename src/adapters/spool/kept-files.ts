import { constants } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, rm } from 'node:fs/promises'
import path from 'node:path'

import { alreadyOpen, assertJobId, assertKeepable } from './kept-name.ts'

type KeptFile = {
  readonly handle: FileHandle
  readonly place: string
  /** Brings the names that lead to the file to stable storage; once is enough. */
  readonly syncName: () => Promise<void>
  readonly release: () => void
}

/** Files that outlive the agent: `root`/<job>/<name>. */
export function keptFiles(root: string) {
  const inUse = new Set<string>()

  return {
    async open(jobId: string, name: string): Promise<KeptFile> {
      assertKeepable(jobId, name)
      const place = path.join(root, jobId)
      const file = path.join(place, name)
      if (inUse.has(file)) throw alreadyOpen(jobId, name)
      inUse.add(file)
      const release = () => void inUse.delete(file)
      try {
        await mkdir(place, { recursive: true, mode: 0o700 })
        // Never O_TRUNC: what is there is what it is kept for.
        const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW
        const handle = await open(file, flags, 0o600)
        return { handle, place, syncName: once(() => syncFolders(place)), release }
      } catch (error) {
        release()
        throw error
      }
    },

    async forget(jobId: string): Promise<void> {
      assertJobId(jobId)
      await rm(path.join(root, jobId), { recursive: true, force: true })
    },

    async forgetAllBut(jobIds: ReadonlySet<string>): Promise<void> {
      for (const name of await namesIn(root)) {
        if (!jobIds.has(name)) await rm(path.join(root, name), { recursive: true, force: true })
      }
    },
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

/** A job's folder, the one of all jobs, and the spool's: each may be new. */
async function syncFolders(place: string): Promise<void> {
  for (const folder of [place, path.dirname(place), path.dirname(path.dirname(place))]) {
    await using handle = await open(folder, 'r')
    await handle.sync()
  }
}

/** Not again after it has succeeded. */
function once(action: () => Promise<void>): () => Promise<void> {
  let isDone = false
  return async () => {
    if (isDone) return
    await action()
    isDone = true
  }
}
