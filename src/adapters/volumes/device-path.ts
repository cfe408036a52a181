import { lstat, readlink, realpath } from 'node:fs/promises'
import path from 'node:path'

import { AgentError } from '../../domain/errors.ts'

/** A block device or a regular file that a volume may be read from or written to. */
export type DevicePath = {
  /** As the template gave it. */
  readonly path: string
  /** Where it leads when every link is followed. */
  readonly realPath: string
  readonly kind: 'block' | 'file'
  readonly dev: bigint
  readonly ino: bigint
  /** Major and minor number of a block device; 0 for a file. */
  readonly rdev: bigint
}

/** Why a path is not there: the text for the message. */
export type Absent = { readonly path: string; readonly reason: string }

type Walk = {
  readonly realPath: string
  /** The folders whose links were followed, in the order of following. */
  readonly linkFolders: readonly string[]
  readonly stats: Awaited<ReturnType<typeof lstatBig>>
}

const linksMax = 40 // As the kernel does. Source: path_resolution(7).

/**
 * Finds out whether `written` may be opened at all (decision D9), touching nothing but folders. The
 * path must lie in one of `roots`; a link may lead only to a block device under /dev and only from
 * folders that root alone can write; a file must really lie in a root. Throws VOLUME_OUTSIDE_ROOTS
 * or VOLUME_NOT_FOUND.
 */
export async function locateDevice(
  written: string,
  roots: readonly string[],
): Promise<DevicePath | Absent> {
  if (!roots.some((root) => isWithin(root, written))) throw outside(written, written, roots)

  let walk: Walk
  try {
    walk = await followLinks(written)
  } catch (error) {
    const reason = absence(error)
    if (reason === null) throw error
    return { path: written, reason }
  }
  const { realPath, stats } = walk
  if (stats.isBlockDevice()) await assertBlockLinks(written, walk, roots)
  else if (stats.isFile()) await assertReallyInside(written, realPath, roots)
  else {
    throw new AgentError(
      'VOLUME_NOT_FOUND',
      `${written} is a ${kindOf(stats)}, neither a block device nor a regular file; see volume_paths`,
      { path: written },
    )
  }
  const kind = stats.isBlockDevice() ? 'block' : 'file'
  return { path: written, realPath, kind, dev: stats.dev, ino: stats.ino, rdev: stats.rdev }
}

/** Major and minor as the kernel's own files write them: `7:0`. Source: gnu_dev_major(3). */
export function deviceNumber(rdev: bigint): string {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n)
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n)
  return `${major}:${minor}`
}

/** Whether `inner` lies below `folder`; both absolute and normalised. */
function isWithin(folder: string, inner: string): boolean {
  return inner.startsWith(folder.endsWith('/') ? folder : `${folder}/`)
}

const lstatBig = (file: string) => lstat(file, { bigint: true })

/** Resolves `written` as the kernel would, remembering from where links led away. */
async function followLinks(written: string): Promise<Walk> {
  const linkFolders: string[] = []
  const pending = written.split('/')
  let at = '/'
  let stats = await lstatBig(at)
  for (let part = pending.shift(); part !== undefined; part = pending.shift()) {
    if (part === '' || part === '.') continue
    const next = path.join(at, part) // `..` too: `at` holds no links.
    stats = await lstatBig(next)
    if (!stats.isSymbolicLink()) {
      at = next
      continue
    }
    linkFolders.push(at)
    if (linkFolders.length > linksMax) {
      throw Object.assign(new Error('too many links'), { code: 'ELOOP' })
    }
    const target = await readlink(next)
    pending.unshift(...target.split('/'))
    if (target.startsWith('/')) at = '/'
  }
  return { realPath: at, linkFolders, stats }
}

function absence(error: unknown): string | null {
  switch ((error as NodeJS.ErrnoException).code) {
    case 'ENOENT':
    case 'ENOTDIR': {
      const missing = (error as NodeJS.ErrnoException).path
      return missing === undefined ? 'does not exist' : `${missing} does not exist`
    }
    case 'ELOOP':
      return 'leads through too many links'
    case 'ENAMETOOLONG':
      return 'is too long for a path'
    case 'EACCES':
      return 'may not be looked at: permission denied'
    default:
      return null
  }
}

/** Links to a block device are LVM's and udev's, or they are a trap. */
async function assertBlockLinks(written: string, walk: Walk, roots: readonly string[]) {
  const { realPath, linkFolders } = walk
  if (linkFolders.length === 0) return
  const isLink = (await lstatBig(written)).isSymbolicLink()
  if (!isWithin('/dev', realPath) && (isLink || !(await isReallyInside(realPath, roots)))) {
    throw outside(written, realPath, roots)
  }
  for (const folder of linkFolders) {
    const { uid, mode } = await lstatBig(folder)
    if (uid === 0n && (mode & 0o022n) === 0n) continue
    throw new AgentError(
      'VOLUME_OUTSIDE_ROOTS',
      `${written} is a link to ${realPath}, and others than root can write ${folder}: ` +
        `make it root's alone (chown root ${folder}; chmod go-w ${folder}) or use no link`,
      { path: written, realPath },
    )
  }
}

async function assertReallyInside(written: string, realPath: string, roots: readonly string[]) {
  if ((await lstatBig(written)).isSymbolicLink()) {
    throw new AgentError(
      'VOLUME_OUTSIDE_ROOTS',
      `${written} is a link to the file ${realPath}: a link may lead only to a block device under ` +
        '/dev; name the file itself in volume_paths',
      { path: written, realPath },
    )
  }
  if (!(await isReallyInside(realPath, roots))) throw outside(written, realPath, roots)
}

/** Roots are the operator's word, so a root that is itself a link stands for where it leads. */
async function isReallyInside(realPath: string, roots: readonly string[]): Promise<boolean> {
  for (const root of roots) {
    const realRoot = await realpath(root).catch(() => root)
    if (isWithin(realRoot, realPath)) return true
  }
  return false
}

function outside(written: string, realPath: string, roots: readonly string[]): AgentError {
  const where = realPath === written ? written : `${written}, which is ${realPath},`
  return new AgentError(
    'VOLUME_OUTSIDE_ROOTS',
    `${where} does not lie in a root of volumes (${roots.join(', ')}): ` +
      `if volumes belong there, add ${path.dirname(realPath)} to volume_roots`,
    { path: written, realPath, roots },
  )
}

function kindOf(stats: Walk['stats']): string {
  if (stats.isDirectory()) return 'directory'
  if (stats.isFIFO()) return 'named pipe'
  if (stats.isSocket()) return 'socket'
  return 'character device'
}
