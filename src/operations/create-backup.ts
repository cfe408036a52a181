import {
  type BackupPlan,
  checkSha256fileFits,
  chunkSizeFor,
  verifiesUpload,
} from '../domain/backup-plan.ts'
import type { BackupRecord } from '../domain/backup-record.ts'
import type { Compression } from '../domain/compression.ts'
import { documentHeader } from '../domain/document-header.ts'
import { AgentError } from '../domain/errors.ts'
import { digestBytes } from '../domain/extents.ts'
import type { Effort } from '../domain/lane-tasks.ts'
import { checkPrefix, metadataName, sha256fileName } from '../domain/object-names.ts'
import type { RequestContext } from '../domain/request-context.ts'
import type { StoreLayout } from '../domain/store-layout.ts'
import { backupVolume } from '../engine/backup-volume.ts'
import { checkCompression } from '../engine/codecs.ts'
import { readParentDigests } from '../engine/read-manifest.ts'
import type { WindowLog } from '../engine/window-log.ts'
import { metadataBody, sha256fileBody } from '../engine/write-manifest.ts'
import { prefixStamp } from '../lib/time-text.ts'
import type { Accelerator } from '../ports/accelerator.ts'
import type { AccessSource } from '../ports/identity.ts'
import type { Lanes } from '../ports/lanes.ts'
import type { ObjectStore } from '../ports/object-store.ts'
import type { Spool, SpoolFile } from '../ports/spool.ts'
import type { VolumeReader } from '../ports/volumes.ts'
import { goOn, openLog } from './backup-log.ts'
import { type FindDeps, findParent, type PlacedBackup, readManifest } from './find-backup.ts'
import { type JobVolumes, withVolume } from './job-volumes.ts'
import type { Result, Run, RunOperation } from './operation.ts'
import { removeUnnamed } from './remove-objects.ts'
import type { VolumeMetadata } from './volume-metadata.ts'

/** What operations know of the store. */
export type StoreAccess = {
  readonly layout: StoreLayout
  readonly storeFor: (context: RequestContext, projectId: string | null) => ObjectStore
  /** The same credentials for stores in other threads. */
  readonly accessFor: (context: RequestContext, projectId: string | null) => AccessSource | null
}

export type CreateDeps = {
  readonly journal: FindDeps['journal']
  readonly stores: StoreAccess
  readonly volumes: JobVolumes
  readonly metadata: VolumeMetadata
  readonly spool: Spool
  readonly lanes: Lanes
  /** What the lanes have of it, for a look at what they can do; null: none. */
  readonly accelerator: Accelerator | null
  /** Upstream's class path of the driver. */
  readonly service: string
  readonly availabilityZone: string
  readonly sizes: {
    readonly objectSizeBytes: number
    readonly blockSizeBytes: number
    readonly memoryMax: number
    readonly workers: number
  }
  readonly compression: Compression
  readonly effort: Effort
  readonly zeroChunks: 'compat' | 'sparse'
  readonly verifyUpload: 'auto' | 'on' | 'off'
  readonly uploadsMax: number
}

const gibibyte = 2 ** 30

type Place = { readonly container: string; readonly prefix: string }

/**
 * Backs the volume (or snapshot) of a record up, wholly or on top of its parent. The metadata object
 * is written last: without it there is no backup. A run that was cut short goes on where it was, under
 * the same prefix; what cannot be used of it is removed.
 */
export function createBackup(deps: CreateDeps): RunOperation {
  return async (run, signal) => {
    const record = run.record()
    checkRecord(record)
    await checkCompression(deps.compression, deps.accelerator)
    const store = deps.stores.storeFor(run.job.context, record.project_id)
    const volume = await deps.volumes.source(run, signal)
    return withVolume(volume, run.log, () => storeVolume(run, volume, store, deps, signal))
  }
}

async function storeVolume(
  run: Run,
  volume: VolumeReader,
  store: ObjectStore,
  deps: CreateDeps,
  signal: AbortSignal,
): Promise<Result> {
  const record = run.record()
  const size = sizeGib(run, volume)
  const place = choosePlace(record, deps)
  const parent = await parentOf(run, place, store, deps, signal)
  await using parentDigests = parent === null ? null : await deps.spool.open()
  if (parent !== null && parentDigests !== null) {
    checkParentSize(record, size, parent)
    await readDigests(store, parent, deps.sizes.blockSizeBytes, parentDigests, signal)
    await checkParentIsWhole(store, parent, parentDigests, deps, signal)
  }
  await checkSizes(volume, store, deps, signal)
  const isAgain = run.record().service_metadata !== null
  await claimPlace(run, place, size, store, deps, signal)
  const volumeMeta = await deps.metadata.collect(run, signal)
  const plan = planFor(run, place, deps)
  await using log = await openLog(run, plan, volume.sizeBytes, deps.spool)
  const lastNumber = isAgain ? await goOn(run, log, store, signal) : 0
  await storeChunks(run, { plan, volume, parentDigests, store, log, lastNumber }, deps, signal)
  if (isAgain) await removeUnnamed(log, store, signal)
  await closeBackup(run, plan, log, { isFull: parentDigests === null, volumeMeta }, store, signal)
  return { record: { object_count: log.count() } }
}

function checkRecord({ id, encryption_key_id: keyId, size }: BackupRecord): void {
  if (keyId !== null) {
    throw new AgentError(
      'ENCRYPTION_UNSUPPORTED',
      `the volume of backup ${id} is encrypted with key ${keyId}, and keys cannot be kept yet: back it up with cinder-backup`,
      { backupId: id },
    )
  }
  if (size === null || size > 0) return
  throw new AgentError('VOLUME_INVALID_SIZE', `backup ${id} is of a volume of ${size} GiB`, {
    backupId: id,
  })
}

/** Decision D27: the device counts; what the record says of its size is compared and told. */
function sizeGib({ log, record }: Run, { sizeBytes, path }: VolumeReader): number {
  const { size } = record()
  if (size !== null && size * gibibyte !== sizeBytes) {
    log.warn('the device has another size than the record', { path, sizeBytes, size_gib: size })
  }
  return size ?? Math.ceil(sizeBytes / gibibyte)
}

/** The place of an earlier start of this job or of an earlier try, else a new one. */
function choosePlace(record: BackupRecord, { stores }: CreateDeps): Place {
  const { layout } = stores
  const container = record.container ?? layout.defaultContainer(record.id)
  const prefix = record.service_metadata ?? layout.prefix(record, prefixStamp())
  checkPrefix(prefix, record)
  return { container, prefix }
}

/** Notes the place before the first object is there, so that whatever happens they can be found. */
async function claimPlace(
  run: Run,
  { container, prefix }: Place,
  size: number,
  store: ObjectStore,
  { service, availabilityZone }: CreateDeps,
  signal: AbortSignal,
): Promise<void> {
  const zone = run.record().availability_zone ?? availabilityZone
  await run.change(
    { container, service_metadata: prefix, service, size, availability_zone: zone },
    signal,
  )
  await store.ensureContainer(container, signal)
}

async function parentOf(
  { job, record }: Run,
  { container, prefix }: Place,
  store: ObjectStore,
  { journal, stores }: CreateDeps,
  signal: AbortSignal,
): Promise<PlacedBackup | null> {
  const { id, volume_id: volumeId, parent_id: parentId, size } = record()
  if (parentId === null) return null
  const child = { id, volumeId, parentId, sizeGib: size, container, objectPrefix: prefix }
  const asked = { backup: job.request.backup, context: job.context }
  return findParent(child, parentId, asked, { journal, store, layout: stores.layout }, signal)
}

/** Source: cinder/backup/chunkeddriver.py, `_prepare_backup` and `backup`. */
function checkParentSize({ id }: BackupRecord, size: number, parent: PlacedBackup): void {
  if (parent.sizeGib === null || size <= parent.sizeGib) return
  throw new AgentError(
    'PARENT_MISMATCH',
    `the volume of backup ${id} has ${size} GiB, its parent ${parent.id} only ${parent.sizeGib}: take a full backup`,
    { backupId: id, parentId: parent.id },
  )
}

async function readDigests(
  store: ObjectStore,
  { id, volumeId, container, objectPrefix }: PlacedBackup,
  blockSizeBytes: number,
  into: SpoolFile,
  signal: AbortSignal,
): Promise<void> {
  const place = { container, prefix: objectPrefix, record: { id, volume_id: volumeId } }
  await readParentDigests(store, place, blockSizeBytes, into, signal)
}

/**
 * Only its metadata object makes a parent a backup that can be restored. It is removed before the
 * sha256file, so one that is there now was whole when the digests were read. A block whose digest is
 * the same is not stored again: a full parent must hold every block that it has a digest of.
 */
async function checkParentIsWhole(
  store: ObjectStore,
  parent: PlacedBackup,
  digests: SpoolFile,
  { spool, sizes }: Pick<CreateDeps, 'spool' | 'sizes'>,
  signal: AbortSignal,
): Promise<void> {
  await using chunks = await spool.open()
  const { parentId, endBytes } = await readManifest(
    store,
    parent,
    chunks,
    'PARENT_NOT_FOUND',
    signal,
  )
  const digestCount = digests.sizeBytes / digestBytes
  const heldCount = Math.ceil(endBytes / sizes.blockSizeBytes)
  if (parentId !== null || digestCount <= heldCount) return
  throw new AgentError(
    'PARENT_MISMATCH',
    `backup ${parent.id} cannot be a parent: it has ${digestCount} digests, and chunks for only ${heldCount} blocks; take a full backup`,
    { parentId: parent.id, digestCount, heldCount },
  )
}

/** Refuses in the first second what could not be finished after hours (decision D11). */
async function checkSizes(
  { sizeBytes }: VolumeReader,
  store: ObjectStore,
  { sizes }: CreateDeps,
  signal: AbortSignal,
): Promise<void> {
  const { objectBytesMax } = await store.limits(signal)
  const { blockSizeBytes } = sizes
  checkSha256fileFits({ volumeBytes: sizeBytes, blockSizeBytes, objectBytesMax })
}

type Sources = {
  readonly plan: BackupPlan
  readonly volume: VolumeReader
  readonly parentDigests: SpoolFile | null
  readonly store: ObjectStore
  readonly log: WindowLog
  readonly lastNumber: number
}

/** Stores the windows that the log does not have yet. */
async function storeChunks(
  run: Run,
  { volume, store, ...work }: Sources,
  deps: CreateDeps,
  signal: AbortSignal,
): Promise<void> {
  const { project_id: projectId } = run.record()
  const { sizeBytes } = volume
  await using lanes = deps.lanes.open({
    id: run.job.id,
    projectId,
    kind: 'create',
    store,
    access: deps.stores.accessFor(run.job.context, projectId),
    volume,
    chunksMax: deps.uploadsMax,
    log: run.log,
  })
  run.progress(0, sizeBytes)
  const doneBefore = work.log.doneBytes()
  let hasMoved = false
  for await (const { endBytes, chunkCount } of backupVolume({ ...work, lanes }, signal)) {
    if (!hasMoved && work.log.doneBytes() > doneBefore) {
      run.reached(work.log.doneBytes())
      hasMoved = true
    }
    run.progress(endBytes, sizeBytes, chunkCount)
  }
  await checkSizeAfter(run, volume)
}

/** Writes sha256file, then metadata: from then on it is a backup. */
async function closeBackup(
  run: Run,
  { container, prefix, blockSizeBytes, zeroChunks }: BackupPlan,
  log: WindowLog,
  { isFull, volumeMeta }: { readonly isFull: boolean; readonly volumeMeta: string | null },
  store: ObjectStore,
  signal: AbortSignal,
): Promise<void> {
  const record = run.record()
  const header = documentHeader(record)
  const sha256file = sha256fileBody(header, blockSizeBytes, log.digests)
  await store.putObject({ container, name: sha256fileName(prefix) }, sha256file, signal)
  const leavesOutZeros = zeroChunks === 'sparse' && isFull
  const metadata = await metadataBody(
    {
      header,
      parentId: record.parent_id,
      volumeMeta,
      zerosLeftOutOfBytes: leavesOutZeros ? log.layout.sizeBytes : null,
    },
    log,
  )
  await store.putObject({ container, name: metadataName(prefix) }, metadata, signal)
}

/** A device that has grown is backed up as it was promised; one that has shrunk lacks what we promise. */
async function checkSizeAfter({ log }: Run, volume: VolumeReader): Promise<void> {
  const { path, sizeBytes } = volume
  const nowBytes = await volume.sizeNow()
  if (nowBytes === sizeBytes) return
  log.warn('the device has grown while it was backed up', {
    path,
    sizeBytes,
    now_bytes: nowBytes,
  })
}

function planFor(run: Run, { container, prefix }: Place, deps: CreateDeps): BackupPlan {
  const { sizes, compression, effort, uploadsMax, zeroChunks, verifyUpload } = deps
  const chunkSizeBytes = chunkSizeFor(sizes)
  if (chunkSizeBytes !== sizes.objectSizeBytes) {
    run.log.info('chunks are smaller than configured, to fit memory_max', {
      chunk_size_bytes: chunkSizeBytes,
      configured_bytes: sizes.objectSizeBytes,
    })
  }
  return {
    container,
    prefix,
    chunkSizeBytes,
    blockSizeBytes: sizes.blockSizeBytes,
    compression,
    effort,
    uploadsMax,
    zeroChunks,
    verifiesUpload: verifiesUpload(verifyUpload),
  }
}
