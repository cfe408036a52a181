import type { BackupRecord } from '#src/domain/backup-record.ts'
import { aRecord } from './builders.ts'
import { runPeer } from './python.ts'

/** Every name under which releases of those days could be told to compress, or not to. */
export const seedCompressions = ['none', 'off', 'no', 'zlib', 'gzip', 'bz2', 'bzip2'] as const

export type SeedOptions = {
  readonly volumeFile: string
  /** Gets the objects: `a/b/c` as the file `c` in folders. */
  readonly outFolder: string
  /** `icehouse`: offsets are where chunks end, no `parent_id`, no sha256file. */
  readonly era: 'icehouse' | 'kilo'
  readonly compression: (typeof seedCompressions)[number]
  readonly chunkBytes: number
  readonly volumeId: string
  readonly backupId: string
  readonly name?: string
  readonly description?: string
  readonly volumeMeta?: string
}

export type SeedBackup = {
  readonly prefix: string
  /** In the order of writing; the metadata object is the last. */
  readonly objects: readonly {
    readonly name: string
    readonly bytes: number
    readonly md5: string
  }[]
  /** Of the volume. */
  readonly sha256: string
  readonly bytes: number
  readonly record: BackupRecord
}

/** Writes a backup in the form of 2014 or 2015, by a Python program that knows nothing of ours. */
export async function writeSeedBackup(options: SeedOptions): Promise<SeedBackup> {
  const optional = [
    ['--name', options.name],
    ['--description', options.description],
    ['--volume-meta', options.volumeMeta],
  ] as const
  const written = (await runPeer('seed_writer.py', {
    args: [
      options.volumeFile,
      options.outFolder,
      ...['--era', options.era, '--compression', options.compression],
      ...['--chunk', String(options.chunkBytes)],
      ...['--volume-id', options.volumeId, '--backup-id', options.backupId],
      ...optional.flatMap(([flag, text]) => (text === undefined ? [] : [flag, text])),
    ],
  })) as Omit<SeedBackup, 'record'> & { readonly row: Partial<BackupRecord> }
  const { row, ...rest } = written
  return { ...rest, record: aRecord(row) }
}
