import { randomUUID } from 'node:crypto'
import { type FileHandle, mkdir, open, readdir, rm } from 'node:fs/promises'
import path from 'node:path'

import { AgentError } from '../../domain/errors.ts'
import type { Spool, SpoolFile } from '../../ports/spool.ts'
import { keptFiles } from './kept-files.ts'

const keptFolder = 'kept'

/**
 * Scratch space in the folder `directory`, which is made where it is missing. A file has no name
 * while it is open, so that nothing is left of it after a crash; what has a name is removed here,
 * beside what is kept of jobs. Rejects with JOURNAL_UNAVAILABLE.
 */
export async function fileSpool(directory: string): Promise<Spool> {
  await orUnavailable(`prepare the spool folder ${directory}`, async () => {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    for (const name of await readdir(directory)) {
      if (name === keptFolder) continue
      await rm(path.join(directory, name), { recursive: true, force: true })
    }
  })
  const kept = keptFiles(path.join(directory, keptFolder))
  return {
    open: () =>
      orUnavailable(`open a spool file in ${directory}`, async () => {
        const file = path.join(directory, randomUUID())
        const handle = await open(file, 'wx+', 0o600)
        await rm(file)
        return spoolFile(handle, 0, { place: directory })
      }),

    keep: (jobId, name) =>
      orUnavailable(`keep a spool file of job ${jobId} in ${directory}`, async () => {
        const { handle, place, syncName, release } = await kept.open(jobId, name)
        const { size } = await handle.stat()
        return spoolFile(handle, size, { place, syncName, release })
      }),

    forget: (jobId) =>
      orUnavailable(`remove what is kept of job ${jobId} in ${directory}`, () =>
        kept.forget(jobId),
      ),

    forgetAllBut: (jobIds) =>
      orUnavailable(`remove what is kept of old jobs in ${directory}`, () =>
        kept.forgetAllBut(jobIds),
      ),
  }
}

type Kept = {
  /** Where it lies, for messages. */
  readonly place: string
  /** Brings its name to stable storage. */
  readonly syncName?: () => Promise<void>
  readonly release?: () => void
}

function spoolFile(handle: FileHandle, sizeAtFirst: number, kept: Kept): SpoolFile {
  const { place } = kept
  let sizeBytes = sizeAtFirst
  let isOpen = true

  const write = (offsetBytes: number, bytes: Uint8Array) =>
    orUnavailable(`write to the spool in ${place}`, async () => {
      try {
        await writeAll(handle, offsetBytes, bytes)
      } catch (error) {
        // What is beyond the end now would stand where zeros are promised later.
        await handle.truncate(sizeBytes).catch(() => {})
        throw error
      }
      sizeBytes = Math.max(sizeBytes, offsetBytes + bytes.byteLength)
    })

  return {
    get sizeBytes() {
      return sizeBytes
    },

    append: (bytes) => write(sizeBytes, bytes),
    write,

    clear: () =>
      orUnavailable(`clear a spool file in ${place}`, async () => {
        await handle.truncate(0)
        sizeBytes = 0
      }),

    sync: () =>
      orUnavailable(`bring the spool in ${place} to the disk`, async () => {
        await handle.sync()
        await kept.syncName?.()
      }),

    read: (offsetBytes, into) =>
      orUnavailable(`read from the spool in ${place}`, async () => {
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
      if (!isOpen) return
      isOpen = false
      try {
        await handle.close()
      } finally {
        kept.release?.()
      }
    },
  }
}

async function writeAll(handle: FileHandle, offsetBytes: number, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.byteLength; ) {
    const rest = bytes.byteLength - done
    done += (await handle.write(bytes, done, rest, offsetBytes + done)).bytesWritten
  }
}

async function orUnavailable<T>(action: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (cause) {
    if (cause instanceof AgentError) throw cause
    const { code, message } = cause as NodeJS.ErrnoException
    const hint = code === 'ENOSPC' ? '; free space on the disk of state_dir' : ''
    throw new AgentError('JOURNAL_UNAVAILABLE', `cannot ${action}: ${message}${hint}`, {}, cause)
  }
}
