import { constants } from 'node:fs'
import * as fs from 'node:fs/promises'

import { AgentError } from '../../domain/errors.ts'
import { errnoOf } from './posix-errors.ts'

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants
// Source: cinder/backup/drivers/posix.py, put_container: rwxrwx---.
const folderMode = 0o770

/** A folder held open: what is named through it stays in it, whatever happens to its path. */
export interface Folder extends AsyncDisposable {
  readonly path: string
  pathOf(name: string): string
  /** Puts the names in it on stable storage. */
  sync(): Promise<void>
}

/**
 * Opens the folder `parts` below `root`, part by part, without following a symbolic link. Rejects
 * with STORE_UNAVAILABLE where there is no root, CONTAINER_NOT_FOUND, or CONTAINER_INVALID where a
 * part is no folder.
 */
export async function openFolder(root: string, parts: readonly string[]): Promise<Folder> {
  return walk(root, parts, async (at, part) => {
    try {
      return await openPart(at, part)
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error
      const container = parts.join('/')
      const message = `open container ${container}: there is no such folder in ${root}`
      throw new AgentError('CONTAINER_NOT_FOUND', message, { container }, error)
    }
  })
}

/** Opens the folder `parts` below `root`, making what is missing, the root included. */
export async function makeFolder(root: string, parts: readonly string[]): Promise<Folder> {
  await fs.mkdir(root, { recursive: true, mode: folderMode })
  return walk(root, parts, async (at, part) => {
    const isNew = await fs.mkdir(`${pathOf(at)}/${part}`, folderMode).then(() => true, unlessThere)
    const next = await openPart(at, part)
    if (isNew) {
      await next.chmod(folderMode) // Whatever the umask took away.
      await at.sync()
    }
    return next
  })
}

type Step = (at: fs.FileHandle, part: string) => Promise<fs.FileHandle>

async function walk(root: string, parts: readonly string[], step: Step): Promise<Folder> {
  let at = await openRoot(root)
  for (const part of parts) {
    try {
      const next = await step(at, part)
      await at.close()
      at = next
    } catch (error) {
      await at.close()
      throw noFolder(error, parts)
    }
  }
  const path = pathOf(at)
  return {
    path,
    pathOf: (name) => `${path}/${name}`,
    sync: () => at.sync(),
    [Symbol.asyncDispose]: () => at.close(),
  }
}

async function openRoot(root: string): Promise<fs.FileHandle> {
  try {
    return await fs.open(root, O_RDONLY | O_DIRECTORY)
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error
    const message = `open ${root}: there is no such folder; is it mounted? (backup_posix_path)`
    throw new AgentError('STORE_UNAVAILABLE', message, { root }, error)
  }
}

function openPart(at: fs.FileHandle, part: string): Promise<fs.FileHandle> {
  return fs.open(`${pathOf(at)}/${part}`, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
}

/** Node has no openat(2); Linux gives the same by the name of an open file. */
function pathOf({ fd }: fs.FileHandle): string {
  return `/proc/self/fd/${fd}`
}

function unlessThere(error: unknown): boolean {
  if (errnoOf(error) !== 'EEXIST') throw error
  return false
}

function noFolder(error: unknown, parts: readonly string[]): unknown {
  const errno = errnoOf(error)
  if (errno !== 'ENOTDIR' && errno !== 'ELOOP') return error
  const container = parts.join('/')
  const message = `open container ${container}: a part of it is a symbolic link or no folder`
  return new AgentError('CONTAINER_INVALID', message, { container }, error)
}
