import { randomUUID } from 'node:crypto'

import { memoryStore } from '#src/adapters/object-store/memory-store.ts'
import { memorySpool } from '#src/adapters/spool/memory-spool.ts'
import { memoryVolumes } from '#src/adapters/volumes/memory-volumes.ts'
import type { BackupPlan } from '#src/domain/backup-plan.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import { documentHeader } from '#src/domain/document-header.ts'
import { extentSet } from '#src/domain/extents.ts'
import { metadataName, sha256fileName, swiftPrefix } from '#src/domain/object-names.ts'
import { backupVolume } from '#src/engine/backup-volume.ts'
import { chunkList } from '#src/engine/chunk-list.ts'
import {
  type BackupPlace,
  type Manifest,
  readMetadata,
  readParentDigests,
} from '#src/engine/read-manifest.ts'
import { type RestoreOptions, restoreVolume } from '#src/engine/restore-volume.ts'
import { metadataBody, sha256fileBody } from '#src/engine/write-manifest.ts'
import { byteBudget } from '#src/lib/byte-budget.ts'
import type { ObjectStore } from '#src/ports/object-store.ts'
import type { SpoolFile } from '#src/ports/spool.ts'

import { aRecord } from './builders.ts'

// Whole backups and restores by the engine alone: what an operation does, without its control plane.

export const never = new AbortController().signal
export const container = 'backups'

export type Chain = {
  readonly store: ObjectStore
  readonly volumeId: string
  readonly places: BackupPlace[]
}

export async function aChain(store: ObjectStore = memoryStore()): Promise<Chain> {
  await store.ensureContainer(container, never)
  return { store, volumeId: randomUUID(), places: [] }
}

export function aPlan(fields: Partial<BackupPlan> = {}): BackupPlan {
  return {
    container,
    prefix: '',
    chunkSizeBytes: 4096,
    blockSizeBytes: 512,
    compression: 'zlib',
    uploadsMax: 4,
    zeroChunks: 'compat',
    verifiesUpload: true,
    ...fields,
  }
}

export type BackupChoices = Partial<BackupPlan> & { readonly volumeMeta?: string | null }

/** Adds a backup of `bytes` to the chain: full when it is the first, else an incremental. */
export async function addBackup(
  chain: Chain,
  bytes: Uint8Array,
  choices: BackupChoices = {},
  signal: AbortSignal = never,
): Promise<BackupRecord> {
  const { store, volumeId, places } = chain
  const parent = places.at(-1)
  const parentId = parent?.record.id ?? null
  const record = aRecord({ volume_id: volumeId, parent_id: parentId, container })
  const stamp = '20261123002624'
  const prefix = swiftPrefix({ volumeId, backupId: record.id, stamp }, 'nova')
  const { volumeMeta = null, ...fields } = choices
  const plan = aPlan({ ...fields, prefix })

  const spool = memorySpool()
  const own = await spool.open()
  let parentDigests: SpoolFile | null = null
  if (parent !== undefined) {
    parentDigests = await spool.open()
    await readParentDigests(store, parent, plan.blockSizeBytes, parentDigests, signal)
  }
  const volumes = memoryVolumes(new Map([[volumeId, bytes]]))
  await using volume = await volumes.openSource({ volumeId, snapshotId: null }, signal)
  const chunks = chunkList(await spool.open(), prefix)
  const digests = { parent: parentDigests, own }
  const budget = byteBudget(64 * plan.chunkSizeBytes)
  for await (const window of backupVolume(volume, store, plan, digests, budget, signal)) {
    await chunks.append(window.chunks)
  }

  const header = documentHeader(record)
  const sha256file = sha256fileBody(header, plan.blockSizeBytes, own)
  await store.putObject({ container, name: sha256fileName(prefix) }, sha256file, signal)
  const isSparse = plan.zeroChunks === 'sparse' && parentId === null
  const zerosLeftOutOfBytes = isSparse ? bytes.byteLength : null
  const metadata = await metadataBody({ header, parentId, volumeMeta, zerosLeftOutOfBytes }, chunks)
  await store.putObject({ container, name: metadataName(prefix) }, metadata, signal)
  places.push({ container, prefix, record })
  return record
}

export async function readChain(
  store: ObjectStore,
  places: readonly BackupPlace[],
): Promise<Manifest[]> {
  const spool = memorySpool()
  const links: Manifest[] = []
  for (const place of places)
    links.push(await readMetadata(store, place, await spool.open(), never))
  return links
}

/** Restores the last of `places` onto `target`, in place. */
export async function restoreChain(
  store: ObjectStore,
  places: readonly BackupPlace[],
  target: Uint8Array,
  options: Partial<RestoreOptions> = {},
  signal: AbortSignal = never,
): Promise<void> {
  const volumeId = randomUUID()
  const links = await readChain(store, places)
  await using volume = await memoryVolumes(new Map([[volumeId, target]])).openTarget(
    volumeId,
    signal,
  )
  const chosen = {
    volumeIsNew: false,
    memoryMax: 64 * 1_048_576,
    workers: 2,
    restored: extentSet(),
    ...options,
  }
  const budget = byteBudget(chosen.memoryMax)
  for await (const _ of restoreVolume(links, volume, store, chosen, budget, signal));
}
