import type { BackupRecord } from '../domain/backup-record.ts'
import { AgentError, hasCode } from '../domain/errors.ts'
import { type Metadata, metadataReader } from '../domain/metadata-document.ts'
import { checkPrefix, metadataName, sha256fileName } from '../domain/object-names.ts'
import type { RestoreLink } from '../domain/restore-plan.ts'
import { sha256Reader } from '../domain/sha256-document.ts'
import type { ObjectId, ObjectStore } from '../ports/object-store.ts'
import type { SpoolFile } from '../ports/spool.ts'
import { type ChunkList, chunkList } from './chunk-list.ts'

/** Where a backup lies, and whose it must be. */
export type BackupPlace = {
  readonly container: string
  readonly prefix: string
  readonly record: Pick<BackupRecord, 'id' | 'volume_id'>
}

/** A backup's metadata document; its chunks stay in the spool file that was given for them. */
export type Manifest = Metadata & RestoreLink & { readonly chunkCount: number }

/**
 * Reads a backup's metadata document, its chunks into `file`. Rejects with MANIFEST_INVALID where the
 * document is another backup's or not to be trusted, RECORD_MISMATCH for a foreign prefix, or with
 * what the store or the spool rejects with.
 */
export async function readMetadata(
  store: ObjectStore,
  place: BackupPlace,
  file: SpoolFile,
  signal: AbortSignal,
): Promise<Manifest> {
  const { container, prefix, record } = place
  checkPrefix(prefix, record)
  const name = metadataName(prefix)
  const expected = { backupId: record.id, volumeId: record.volume_id, prefix }
  const list: ChunkList = chunkList(file, prefix)

  const reader = await readDocument(
    store,
    { container, name },
    {
      open: () => metadataReader(name, expected),
      clear: () => list.clear(),
      keep: ({ taken }) => list.append(taken()),
    },
    signal,
  )
  const metadata = reader.result()
  return {
    ...metadata,
    backupId: record.id,
    container,
    chunkCount: list.count(),
    chunks: () => list.read(metadata.offsetsAre),
  }
}

/**
 * Reads a backup's sha256file, its packed digests into `file`. Rejects with MANIFEST_INVALID where it is
 * another backup's or not to be trusted, RECORD_MISMATCH for a foreign prefix, OBJECT_NOT_FOUND where
 * there is none (backups from before Kilo), or with what the store or the spool rejects with.
 */
export async function readSha256file(
  store: ObjectStore,
  { container, prefix, record }: BackupPlace,
  file: SpoolFile,
  signal: AbortSignal,
): Promise<{ readonly blockSizeBytes: number; readonly digestCount: number }> {
  checkPrefix(prefix, record)
  const name = sha256fileName(prefix)
  const expected = { backupId: record.id, volumeId: record.volume_id }
  const reader = await readDocument(
    store,
    { container, name },
    {
      open: () => sha256Reader(name, expected),
      clear: () => file.clear(),
      keep: ({ taken }) => file.append(taken()),
    },
    signal,
  )
  return reader.result()
}

/**
 * The same of a parent: rejects with PARENT_MISMATCH where it has no sha256file, or its blocks have
 * another size than `blockSizeBytes`.
 */
export async function readParentDigests(
  store: ObjectStore,
  place: BackupPlace,
  blockSizeBytes: number,
  file: SpoolFile,
  signal: AbortSignal,
): Promise<void> {
  const { prefix, record } = place
  const name = sha256fileName(prefix)
  const mismatch = (why: string, cause?: unknown) =>
    new AgentError(
      'PARENT_MISMATCH',
      `backup ${record.id} cannot be a parent: ${why}; take a full backup`,
      { parentId: record.id, object: name },
      cause,
    )
  const found = await readSha256file(store, place, file, signal).catch((error: unknown) => {
    if (!hasCode(error, 'OBJECT_NOT_FOUND')) throw error
    throw mismatch(`it has no sha256file ${name}`, error)
  })
  if (found.blockSizeBytes === blockSizeBytes) return
  throw mismatch(
    `its digests are of blocks of ${found.blockSizeBytes} bytes, and the block size is now ` +
      `${blockSizeBytes}`,
  )
}

type DocumentReader = { readonly write: (piece: Uint8Array) => void; readonly end: () => void }

/**
 * Fetches a document into readers that `open` gives, one for each try of the store. What a reader
 * complains of counts only if the store vouches for the bytes: a broken transfer is tried again.
 */
async function readDocument<Reader extends DocumentReader>(
  store: ObjectStore,
  id: ObjectId,
  target: {
    readonly open: () => Reader
    readonly clear: () => Promise<void>
    /** Takes out of the reader what is complete. */
    readonly keep: (reader: Reader) => Promise<void>
  },
  signal: AbortSignal,
): Promise<Reader> {
  let reader = target.open()
  let failure: unknown = null
  await store.getObject(
    id,
    {
      async start() {
        reader = target.open()
        failure = null
        await target.clear()
      },
      async write(piece) {
        if (failure !== null) return
        try {
          reader.write(piece)
        } catch (error) {
          failure = error
          return
        }
        await target.keep(reader)
      },
    },
    signal,
  )
  if (failure !== null) throw failure
  reader.end()
  return reader
}
