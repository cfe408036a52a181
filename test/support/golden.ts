import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { gunzipSync } from 'node:zlib'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { ObjectStore } from '#src/ports/object-store.ts'

// Backups that Cinder 21.3.1 itself wrote into Swift: for each codec a full one and two incrementals
// of the same volume. See test/samples/golden/README.md.

const folder = path.resolve(import.meta.dirname, '../samples/golden')

export const goldenCodecs = ['none', 'zlib', 'bz2', 'zstd'] as const
export type GoldenCodec = (typeof goldenCodecs)[number]

export type GoldenObject = {
  readonly name: string
  readonly bytes: number
  readonly etag: string
  readonly sha256: string
  readonly file: string
  readonly stored: 'plain' | 'gzip'
}

export type GoldenBackup = {
  readonly id: string
  readonly parent_id: string | null
  readonly prefix: string
  readonly object_count: number
  /** Of the whole volume after a restore of this link. */
  readonly restored_sha256: string
  readonly restored_bytes: number
  readonly row: BackupRecord
  /** As `cinder backup-export` prints it. */
  readonly export_record: string
  readonly objects: readonly GoldenObject[]
}

export type GoldenChain = {
  readonly compression: GoldenCodec
  readonly container: string
  readonly object_size: number
  readonly block_size: number
  readonly volume_id: string
  readonly volume_bytes: number
  /** Full, first incremental, second incremental. */
  readonly backups: readonly [GoldenBackup, GoldenBackup, GoldenBackup]
}

/** The manifest of one chain. */
export function goldenChain(codec: GoldenCodec): GoldenChain {
  const text = readFileSync(path.join(folder, `chain-${codec}`, 'manifest.json'), 'utf8')
  return JSON.parse(text) as GoldenChain
}

/** The bytes of one object, as they were in Swift; throws where the sample is not what it was. */
export function goldenBytes(chain: GoldenChain, object: GoldenObject): Uint8Array {
  const kept = readFileSync(path.join(folder, `chain-${chain.compression}`, object.file))
  const bytes = object.stored === 'gzip' ? gunzipSync(kept) : kept
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  if (sha256 !== object.sha256) throw new Error(`the sample ${object.file} has been changed`)
  return bytes
}

/** Puts all objects of a chain into `store`, in the container that its rows name. */
export async function storeGolden(
  chain: GoldenChain,
  store: ObjectStore,
  signal: AbortSignal,
): Promise<void> {
  const { container } = chain
  await store.ensureContainer(container, signal)
  for (const { objects } of chain.backups) {
    for (const object of objects) {
      await store.putObject({ container, name: object.name }, goldenBytes(chain, object), signal)
    }
  }
}
