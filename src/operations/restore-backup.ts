import { AgentError, hasCode, toAgentError } from '../domain/errors.ts'
import { type ExtentSet, extentSet } from '../domain/extents.ts'
import type { JsonObject } from '../domain/json.ts'
import { parseVolumeMeta } from '../domain/volume-meta.ts'
import { checkReach, type ExpectedDigests } from '../engine/expected-digests.ts'
import { type Manifest, readSha256file } from '../engine/read-manifest.ts'
import { openRestoreLog } from '../engine/restore-log.ts'
import { checkFits, restoreVolume } from '../engine/restore-volume.ts'
import type { LaneUse } from '../ports/lanes.ts'
import type { ObjectStore } from '../ports/object-store.ts'
import type { SpoolFile } from '../ports/spool.ts'
import type { VolumeWriter } from '../ports/volumes.ts'
import type { CreateDeps } from './create-backup.ts'
import { findParent, type PlacedBackup, placeOf, readManifest } from './find-backup.ts'
import { withVolume } from './job-volumes.ts'
import type { Run, RunOperation } from './operation.ts'
import { listObjects } from './remove-objects.ts'

export type RestoreDeps = Pick<
  CreateDeps,
  'journal' | 'stores' | 'volumes' | 'spool' | 'lanes' | 'sizes' | 'uploadsMax' | 'metadata'
>

/** A longer chain is no chain that anyone made. */
const linksMax = 1000

/** So many extents are named in an event; the rest is summed up. */
const extentsMax = 200

/** A backup of the chain: where it lies and what its metadata object says. */
type Link = { readonly place: PlacedBackup; readonly manifest: Manifest }

/**
 * Restores a backup, with all it builds on, onto a volume: each byte fetched, verified and written
 * once. A run that was cut short goes on where it was. Where it fails after the first write, the error's
 * context says what was restored by then.
 */
export function restoreBackup(deps: RestoreDeps): RunOperation {
  return async (run, signal) => {
    const { job, log } = run
    const { targetVolumeId, volumeIsNew } = job.request
    if (targetVolumeId === null)
      throw new AgentError('ASSERTION_FAILED', 'a restore without target')
    const store = deps.stores.storeFor(job.context, run.record().project_id)
    await using opened = new AsyncDisposableStack()
    const chain = await readChain(run, store, deps, opened, signal)
    const volumeMeta = volumeMetaOf(chain)
    const documents = chain.map(({ manifest }) => manifest.volumeMeta)
    deps.metadata.check(run, documents)

    const target = await deps.volumes.target(run, targetVolumeId, signal)
    await withVolume(target, log, async () => {
      log.info('restoring', {
        ...{ links: chain.length, target: target.path, volume_is_new: volumeIsNew },
      })
      await writeLinks(run, chain, target, store, deps, signal)
    })
    await deps.metadata.apply(run, documents, signal)
    await reportStrays(run, chain, store, signal)
    return { record: {}, extra: { volume_meta: volumeMeta, restored_volume_id: targetVolumeId } }
  }
}

/** Reads the metadata of the backup and its ancestors; the full backup comes first. */
async function readChain(
  run: Run,
  store: ObjectStore,
  deps: RestoreDeps,
  opened: AsyncDisposableStack,
  signal: AbortSignal,
): Promise<readonly Link[]> {
  const { context, request } = run.job
  const asked = { backup: request.backup, context }
  const found = { journal: deps.journal, store, layout: deps.stores.layout }
  const chain: Link[] = []
  const seen = new Set<string>()

  let place = placeOf(run.record())
  while (true) {
    if (seen.has(place.id) || chain.length === linksMax)
      throw endlessChain(run, place, chain.length)
    seen.add(place.id)
    const file = opened.use(await deps.spool.open())
    const missing = chain.length === 0 ? 'BACKUP_NOT_FOUND' : 'PARENT_NOT_FOUND'
    const manifest = await readManifest(store, place, file, missing, signal)
    chain.unshift({ place, manifest })
    if (manifest.parentId === null) return chain
    place = await findParent(place, manifest.parentId, asked, found, signal)
  }
}

function endlessChain(run: Run, { id }: PlacedBackup, count: number): AgentError {
  return new AgentError(
    'MANIFEST_INVALID',
    `the chain of backup ${run.record().id} does not end: after ${count} backups comes ${id}`,
    { backupId: run.record().id },
  )
}

function volumeMetaOf(chain: readonly Link[]): JsonObject | null {
  const text = chain.at(-1)?.manifest.volumeMeta ?? null
  return text === null || text === '' ? null : parseVolumeMeta(text)
}

async function writeLinks(
  run: Run,
  chain: readonly Link[],
  target: VolumeWriter,
  store: ObjectStore,
  deps: RestoreDeps,
  signal: AbortSignal,
): Promise<void> {
  const links = chain.map(({ manifest }) => manifest)
  checkFits(links, target)
  await using opened = new AsyncDisposableStack()
  const expected = await readExpected(
    run,
    chain,
    store,
    opened.use(await deps.spool.open()),
    signal,
  )
  checkReach(links, expected)
  const log = await openRestoreLog(
    opened.use(await deps.spool.keep(run.job.id, 'steps')),
    links,
    target,
  )
  const { volumeIsNew } = run.job.request
  const { memoryMax, workers } = deps.sizes
  const restored = extentSet()
  try {
    await using lanes = openLanes(run, target, store, deps)
    const options = { volumeIsNew, memoryMax, workers }
    const work = { links, target, lanes, expected, log, restored, options }
    if (log.count() > 0) {
      run.reached(log.doneBytes())
      run.log.info('going on where an earlier start was cut short', { steps: log.count() })
    }
    let hasMoved = false
    for await (const { restoredBytes, newBytes, totalBytes } of restoreVolume(work, signal)) {
      if (!hasMoved && newBytes > 0) {
        run.reached(log.doneBytes())
        hasMoved = true
      }
      run.progress(restoredBytes, totalBytes)
    }
  } catch (error) {
    throw withExtents(toAgentError(error), restored)
  }
}

function openLanes(run: Run, volume: VolumeWriter, store: ObjectStore, deps: RestoreDeps): LaneUse {
  const { project_id: projectId } = run.record()
  return deps.lanes.open({
    id: run.job.id,
    projectId,
    kind: 'restore',
    store,
    access: deps.stores.accessFor(run.job.context, projectId),
    volume,
    chunksMax: deps.uploadsMax,
    log: run.log,
  })
}

/**
 * The digests of what the volume shall be. A backup from before Kilo has none, and a damaged sha256file
 * must not keep anybody from restoring: then the md5 of each chunk decides alone.
 */
async function readExpected(
  { log }: Run,
  chain: readonly Link[],
  store: ObjectStore,
  file: SpoolFile,
  signal: AbortSignal,
): Promise<ExpectedDigests | null> {
  const place = chain.at(-1)?.place
  if (place === undefined) return null
  const { id, volumeId, container, objectPrefix: prefix } = place
  const record = { id, volume_id: volumeId }
  try {
    const { blockSizeBytes } = await readSha256file(
      store,
      { container, prefix, record },
      file,
      signal,
    )
    return { blockSizeBytes, digests: file }
  } catch (error) {
    if (hasCode(error, 'OBJECT_NOT_FOUND')) return null
    if (!hasCode(error, 'MANIFEST_INVALID')) throw error
    log.warn('the sha256file is not used: the md5 of each chunk decides', { error })
    return null
  }
}

function withExtents(error: AgentError, restored: ExtentSet): AgentError {
  const { extents, omittedBytes } = restored.list(extentsMax)
  const restoredExtents = extents.map(({ offsetBytes, lengthBytes }) => [offsetBytes, lengthBytes])
  const context = { ...error.context, restoredExtents, restoredBytesNotListed: omittedBytes }
  return new AgentError(error.code, error.message, context, error.cause)
}

/** The metadata rules (decision D10): objects that it does not name are told of, and left alone. */
async function reportStrays(
  { log }: Run,
  chain: readonly Link[],
  store: ObjectStore,
  signal: AbortSignal,
): Promise<void> {
  for (const { place, manifest } of chain) {
    const { container, objectPrefix } = place
    let count = 0
    try {
      for await (const { name } of listObjects(store, container, objectPrefix, signal)) {
        if (name.startsWith(`${objectPrefix}-`)) count += 1
      }
    } catch (error) {
      log.warn('cannot look for objects that no backup names', { error, prefix: objectPrefix })
      continue
    }
    const strays = count - manifest.chunkCount
    if (strays > 0) {
      log.warn('objects that the metadata does not name', { count: strays, prefix: objectPrefix })
    }
  }
}
