import { createHash } from 'node:crypto'
import { constants, type Dir } from 'node:fs'
import * as fs from 'node:fs/promises'

import { AgentError, hasCode } from '../../domain/errors.ts'
import type { Extent } from '../../domain/extents.ts'
import type {
  DigestedBody,
  ObjectEntry,
  ObjectId,
  ObjectSink,
  ObjectStore,
  StoredObject,
  StreamedBody,
} from '../../ports/object-store.ts'
import { type Bandwidth, inPieces, pacedPieces, pacedSink, unlimited } from './bandwidth.ts'
import { CallersFailure, errnoOf, posixError } from './posix-errors.ts'
import { type Folder, makeFolder, openFolder } from './posix-folder.ts'
import { type Temporaries, temporaries } from './posix-temporaries.ts'
import { isWhole, noBulkDelete, wholeBytes } from './store-bodies.ts'
import { checkListPrefix, checkObjectName, containerParts } from './store-names.ts'

export type PosixOptions = {
  /** `backup_posix_path`. Made where it is missing. */
  readonly root: string
  /**
   * Who writes: `host` names this agent, `run` this start of it. An unfinished file of the same host
   * and another run is known to be left over.
   */
  readonly writer: { readonly host: string; readonly run: string }
  /** Entries in a page of a listing. */
  readonly pageLimit?: number
}

const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK } = constants
// Source: cinder/backup/drivers/posix.py: rw-rw----, and rwxrwx--- for folders.
const fileMode = 0o660
const pieceBytes = 1024 * 1024
const containerLimits = { bytesMax: 255, mayNest: true } // The width of backups.container.

/**
 * A folder tree: a container is a folder below `root`, an object a file in it; names hold no slash.
 * Symbolic links below `root` are never followed. An object is written under a name that no listing
 * shows, synced, and renamed; listing also removes what a run that crashed left unfinished.
 */
export function posixStore(
  { root, writer, pageLimit = 10_000 }: PosixOptions,
  bandwidth: Bandwidth = unlimited,
): ObjectStore {
  const unfinished = temporaries(writer)

  /** Runs `work` in the container's folder, which it opens part by part. */
  const within = async <T>(
    verb: string,
    { container, name }: { readonly container: string; readonly name: string | null },
    work: (folder: Folder) => Promise<T>,
  ): Promise<T> => {
    const parts = containerParts(container, containerLimits)
    const action = `${verb} ${[container, ...(name === null ? [] : [name])].join('/')}`
    if (name !== null) checkFileName({ container, name })
    try {
      await using folder = await openFolder(root, parts)
      return await work(folder)
    } catch (error) {
      throw posixError(error, action, { container, name })
    }
  }

  return {
    limits: async (signal) => {
      signal.throwIfAborted()
      return {
        objectBytesMax: Number.MAX_SAFE_INTEGER,
        containerNameBytesMax: containerLimits.bytesMax,
        containerMayNest: true,
      }
    },
    ensureContainer: async (container, signal) => {
      signal.throwIfAborted()
      const parts = containerParts(container, containerLimits)
      try {
        await using _folder = await makeFolder(root, parts)
      } catch (error) {
        throw posixError(error, `create container ${container}`, { container, name: null })
      }
    },
    putObject: (id, body, signal) =>
      within('put', id, (folder) =>
        putFile(folder, id.name, body, { unfinished, bandwidth }, signal),
      ),
    getObject: (id, sink, signal) =>
      within('get', id, async (folder) => {
        const digest = createHash('md5')
        const digesting: ObjectSink = {
          start: () => sink.start(),
          write: (piece) => {
            digest.update(piece)
            return sink.write(piece)
          },
        }
        const paced = pacedSink(digesting, bandwidth, signal)
        const sizeBytes = await getFile(folder, id, paced, signal)
        return { sizeBytes, md5: digest.digest('hex') }
      }),
    getUndigested: (id, sink, signal, part = null) =>
      within('get', id, (folder) =>
        getFile(folder, id, pacedSink(sink, bandwidth, signal), signal, part),
      ),
    listPage: async (container, prefix, after, signal) => {
      checkListPrefix(container, prefix)
      const list = (folder: Folder) =>
        listFiles(folder, { prefix, after, pageLimit }, unfinished, signal)
      return orWhereMissing([], within('list', { container, name: null }, list))
    },
    deleteObject: async (id, signal) => {
      const remove = async (folder: Folder) => {
        signal.throwIfAborted()
        await fs.unlink(folder.pathOf(id.name)).catch(unlessMissing)
      }
      await orWhereMissing(undefined, within('delete', id, remove))
    },
    ...noBulkDelete,
  }
}

function checkFileName(id: ObjectId): void {
  checkObjectName(id)
  if (!id.name.includes('/') && !id.name.startsWith('.')) return
  throw new AgentError(
    'STORE_REFUSED',
    `cannot use object ${JSON.stringify(id.name.slice(0, 256))}: a file's name holds no slash and starts with no dot`,
    { ...id },
  )
}

async function putFile(
  folder: Folder,
  name: string,
  body: Uint8Array | DigestedBody | StreamedBody,
  { unfinished, bandwidth }: { readonly unfinished: Temporaries; readonly bandwidth: Bandwidth },
  signal: AbortSignal,
): Promise<StoredObject> {
  signal.throwIfAborted()
  const temporary = folder.pathOf(unfinished.nameFor(name))
  try {
    const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW
    await using file = await fs.open(temporary, flags, fileMode)
    await file.chmod(fileMode) // Whatever the umask took away.
    const pieces = isWhole(body) ? inPieces(wholeBytes(body), pieceBytes) : callersPieces(body)
    const md5 = 'md5' in body ? body.md5 : null
    const paced = bandwidth.pieceBytes() === null ? pieces : pacedPieces(pieces, bandwidth, signal)
    const stored = await writeAll(file, paced, md5, signal)
    await file.sync()
    await fs.rename(temporary, folder.pathOf(name))
    await folder.sync()
    return stored
  } catch (error) {
    await fs.unlink(temporary).catch(() => {}) // The failure before it is the one to tell of.
    throw error
  }
}

async function writeAll(
  file: fs.FileHandle,
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  knownMd5: string | null,
  signal: AbortSignal,
): Promise<StoredObject> {
  const digest = knownMd5 === null ? createHash('md5') : null
  let sizeBytes = 0
  for await (const piece of pieces) {
    signal.throwIfAborted()
    digest?.update(piece)
    let written = 0
    while (written < piece.byteLength) {
      const { bytesWritten } = await file.write(piece, written)
      written += bytesWritten
    }
    sizeBytes += piece.byteLength
  }
  signal.throwIfAborted()
  return { sizeBytes, md5: knownMd5 ?? digest?.digest('hex') ?? '' }
}

async function getFile(
  folder: Folder,
  { container, name }: ObjectId,
  sink: ObjectSink,
  signal: AbortSignal,
  part: Extent | null = null,
): Promise<number> {
  signal.throwIfAborted()
  // Without O_NONBLOCK opening a pipe would wait for a writer for ever.
  const flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK
  await using file = await fs.open(folder.pathOf(name), flags)
  const stat = await file.stat()
  const refused = (code: 'STORE_REFUSED' | 'DOWNLOAD_CORRUPT', what: string) =>
    new AgentError(code, `get ${container}/${name}: ${what}`, { container, name })
  if (!stat.isFile()) throw refused('STORE_REFUSED', 'it is no regular file')

  await callers(() => sink.start())
  const { offsetBytes, lengthBytes } = part ?? { offsetBytes: 0, lengthBytes: stat.size }
  const buffer = Buffer.allocUnsafe(Math.min(pieceBytes, stat.size + 1))
  let sizeBytes = 0
  while (part === null || sizeBytes < lengthBytes) {
    signal.throwIfAborted()
    const wanted =
      part === null ? buffer.byteLength : Math.min(buffer.byteLength, lengthBytes - sizeBytes)
    const { bytesRead } = await file.read(buffer, 0, wanted, offsetBytes + sizeBytes)
    if (bytesRead === 0) break
    const piece = buffer.subarray(0, bytesRead)
    sizeBytes += bytesRead
    await callers(() => sink.write(piece))
  }
  if (sizeBytes !== lengthBytes) {
    throw refused('DOWNLOAD_CORRUPT', `the file had ${stat.size} bytes, ${sizeBytes} came`)
  }
  return sizeBytes
}

/** One pass over the folder, keeping the first names after `after`: bounded, however many there are. */
async function listFiles(
  folder: Folder,
  page: { readonly prefix: string; readonly after: string; readonly pageLimit: number },
  unfinished: Temporaries,
  signal: AbortSignal,
): Promise<readonly ObjectEntry[]> {
  signal.throwIfAborted()
  const { prefix, after, pageLimit } = page
  let names: string[] = []
  const entries: Dir = await fs.opendir(folder.path)
  for await (const entry of entries) {
    signal.throwIfAborted()
    if (entry.name.startsWith('.')) {
      await unfinished.removeLeftover(folder, entry.name, prefix)
    } else if (entry.isFile() && entry.name.startsWith(prefix) && entry.name > after) {
      names.push(entry.name)
      if (names.length >= 2 * pageLimit) names = firstOf(names, pageLimit)
    }
  }
  const objects: ObjectEntry[] = []
  for (const name of firstOf(names, pageLimit)) {
    const stat = await fs.lstat(folder.pathOf(name)).catch(unlessMissing)
    if (stat !== undefined) objects.push({ name, sizeBytes: stat.size, md5: null })
  }
  return objects
}

function firstOf(names: string[], count: number): string[] {
  return names.sort().slice(0, count)
}

async function* callersPieces(body: StreamedBody): AsyncGenerator<Uint8Array> {
  try {
    yield* body.open()
  } catch (error) {
    throw new CallersFailure(error)
  }
}

async function callers(work: () => void | Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    throw new CallersFailure(error)
  }
}

function unlessMissing(error: unknown): void {
  if (errnoOf(error) !== 'ENOENT') throw error
}

async function orWhereMissing<T>(value: T, call: Promise<T>): Promise<T> {
  try {
    return await call
  } catch (error) {
    if (hasCode(error, 'CONTAINER_NOT_FOUND')) return value
    throw error
  }
}
