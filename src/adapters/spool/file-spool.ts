import { randomUUID } from 'node:crypto'
import { type FileHandle, mkdir, open, readdir, rm } from 'node:fs/promises'
import path from 'node:path'

import { AgentError } from '../../domain/errors.ts'
import type { Spool, SpoolFile } from '../../ports/spool.ts'

/**
 * Scratch space in the folder `directory`, which is made where it is missing. A file has no name
 * while it is open, so that nothing is left of it after a crash; what has a name is removed here.
 * Rejects with JOURNAL_UNAVAILABLE.
 */
export async function fileSpool(directory: string): Promise<Spool> {
  await orUnavailable(`prepare the spool folder ${directory}`, async () => {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    for (const name of await readdir(directory)) {
      await rm(path.join(directory, name), { recursive: true, force: true })
    }
  })
  return {
    open: () =>
      orUnavailable(`open a spool file in ${directory}`, async () => {
        const file = path.join(directory, randomUUID())
        const handle = await open(file, 'wx+', 0o600)
        await rm(file)
        return spoolFile(handle, directory)
      }),
  }
}

function spoolFile(handle: FileHandle, directory: string): SpoolFile {
  let sizeBytes = 0
  let isOpen = true

  return {
    get sizeBytes() {
      return sizeBytes
    },

    append: (bytes) =>
      orUnavailable(`write to the spool in ${directory}`, async () => {
        let done = 0
        while (done < bytes.byteLength) {
          const { bytesWritten } = await handle.write(
            bytes,
            done,
            bytes.byteLength - done,
            sizeBytes + done,
          )
          done += bytesWritten
        }
        sizeBytes += done
      }),

    clear: () =>
      orUnavailable(`clear a spool file in ${directory}`, async () => {
        await handle.truncate(0)
        sizeBytes = 0
      }),

    read: (offsetBytes, into) =>
      orUnavailable(`read from the spool in ${directory}`, async () => {
        const wanted = Math.max(0, Math.min(into.byteLength, sizeBytes - offsetBytes))
        let done = 0
        while (done < wanted) {
          const { bytesRead } = await handle.read(into, done, wanted - done, offsetBytes + done)
          if (bytesRead === 0) break
          done += bytesRead
        }
        return done
      }),

    async [Symbol.asyncDispose]() {
      if (isOpen) await handle.close()
      isOpen = false
    },
  }
}

async function orUnavailable<T>(action: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    const hint = code === 'ENOSPC' ? '; free space on the disk of state_dir' : ''
    throw new AgentError('JOURNAL_UNAVAILABLE', `cannot ${action}: ${message}${hint}`, {}, cause)
  }
}
