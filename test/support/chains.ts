import { randomUUID } from 'node:crypto'

import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { memoryStore } from '#src/adapters/object-store/memory-store.ts'
import { memorySpool } from '#src/adapters/spool/memory-spool.ts'
import { memoryVolumes } from '#src/adapters/volumes/memory-volumes.ts'
import type { BackupPlan } from '#src/domain/backup-plan.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import { documentHeader } from '#src/domain/document-header.ts'
import { type ExtentSet, extentSet } from '#src/domain/extents.ts'
import { metadataName, posixPrefix, sha256fileName, swiftPrefix } from '#src/domain/object-names.ts'
import { backupVolume } from '#src/engine/backup-volume.ts'
import type { ExpectedDigests } from '#src/engine/expected-digests.ts'
import { localLanes } from '#src/engine/local-lanes.ts'
import {
  type BackupPlace,
  type Manifest,
  readMetadata,
  readParentDigests,
  readSha256file,
} from '#src/engine/read-manifest.ts'
import { openRestoreLog } from '#src/engine/restore-log.ts'
import { type RestoreOptions, restoreVolume } from '#src/engine/restore-volume.ts'
import { openWindowLog } from '#src/engine/window-log.ts'
import { metadataBody, sha256fileBody } from '#src/engine/write-manifest.ts'
import type { Accelerator } from '#src/ports/accelerator.ts'
import type { LaneJob } from '#src/ports/lanes.ts'
import type { ObjectStore } from '#src/ports/object-store.ts'
import type { SpoolFile } from '#src/ports/spool.ts'
import type { VolumeWriter } from '#src/ports/volumes.ts'

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
    effort: 'compatible',
    uploadsMax: 4,
    zeroChunks: 'compat',
    verifiesUpload: true,
    ...fields,
  }
}

export type BackupChoices = Partial<BackupPlan> & {
  /** Whose names; Swift's, unless it is said. */
  readonly driver?: 'swift' | 'posix'
  /** The chunks of what is not numbered by windows get the numbers behind it. */
  readonly lastNumber?: number
  readonly volumeMeta?: string | null
  readonly accelerator?: Accelerator | null
}

export function aLaneJob({ store, volume }: Pick<LaneJob, 'store' | 'volume'>): LaneJob {
  const log = recordingLog()
  return {
    id: 'job',
    projectId: null,
    kind: 'create',
    store,
    access: null,
    volume,
    chunksMax: 4,
    log,
  }
}

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
  const names = { volumeId, backupId: record.id, stamp }
  const prefix = choices.driver === 'posix' ? posixPrefix(names) : swiftPrefix(names, 'nova')
  const { volumeMeta = null, lastNumber = 0, accelerator: _, driver: __, ...fields } = choices
  const plan = aPlan({ ...fields, prefix })

  const spool = memorySpool()
  let parentDigests: SpoolFile | null = null
  if (parent !== undefined) {
    parentDigests = await spool.open()
    await readParentDigests(store, parent, plan.blockSizeBytes, parentDigests, signal)
  }
  const volumes = memoryVolumes(new Map([[volumeId, bytes]]))
  await using volume = await volumes.openSource({ volumeId, snapshotId: null }, signal)
  const log = await openWindowLog(await spool.open(), await spool.open(), {
    ...{ backupId: record.id, parentId, container, prefix },
    sizeBytes: bytes.byteLength,
    windowBytes: plan.chunkSizeBytes,
    blockSizeBytes: plan.blockSizeBytes,
    zeroChunks: plan.zeroChunks,
  })
  await using lanes = localLanes(choices.accelerator).open(aLaneJob({ store, volume }))
  const work = { plan, lanes, parentDigests, log, lastNumber }
  await Array.fromAsync(backupVolume(work, signal))

  const header = documentHeader(record)
  const sha256file = sha256fileBody(header, plan.blockSizeBytes, log.digests)
  await store.putObject({ container, name: sha256fileName(prefix) }, sha256file, signal)
  const isSparse = plan.zeroChunks === 'sparse' && parentId === null
  const zerosLeftOutOfBytes = isSparse ? bytes.byteLength : null
  const metadata = await metadataBody({ header, parentId, volumeMeta, zerosLeftOutOfBytes }, log)
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

export type RestoreChoices = Partial<RestoreOptions> & {
  readonly restored?: ExtentSet
  readonly accelerator?: Accelerator | null
  /** Whether the sha256file of the last backup is used; it is, unless it is said. */
  readonly usesDigests?: boolean
}

/** Restores the last of `places` onto `target`, in place. */
export async function restoreChain(
  store: ObjectStore,
  places: readonly BackupPlace[],
  target: Uint8Array,
  choices: RestoreChoices = {},
  signal: AbortSignal = never,
): Promise<void> {
  const volumeId = randomUUID()
  const volumes = memoryVolumes(new Map([[volumeId, target]]))
  await using volume = await volumes.openTarget(volumeId, signal)
  await restoreOnto(store, places, volume, choices, signal)
}

export async function restoreOnto(
  store: ObjectStore,
  places: readonly BackupPlace[],
  target: VolumeWriter,
  choices: RestoreChoices = {},
  signal: AbortSignal = never,
): Promise<void> {
  const { restored = extentSet(), accelerator = null, usesDigests = true, ...options } = choices
  const links = await readChain(store, places)
  const file = await memorySpool().open()
  let expected: ExpectedDigests | null = null
  const place = places.at(-1)
  if (usesDigests && place !== undefined) {
    const { blockSizeBytes } = await readSha256file(store, place, file, signal)
    expected = { blockSizeBytes, digests: file }
  }
  const log = await openRestoreLog(await memorySpool().open(), links, target)
  await using lanes = localLanes(accelerator).open(aLaneJob({ store, volume: target }))
  const chosen = { volumeIsNew: false, memoryMax: 64 * 1_048_576, workers: 2, ...options }
  const work = { links, target, lanes, expected, log, restored, options: chosen }
  await Array.fromAsync(restoreVolume(work, signal))
}
