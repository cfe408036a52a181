import { AgentError, hasCode, toAgentError } from '../domain/errors.ts'
import { type ExtentSet, extentSet } from '../domain/extents.ts'
import type { JsonObject } from '../domain/json.ts'
import { parseVolumeMeta } from '../domain/volume-meta.ts'
import type { Manifest } from '../engine/read-manifest.ts'
import { restoreVolume } from '../engine/restore-volume.ts'
import type { ObjectStore } from '../ports/object-store.ts'
import type { VolumeWriter } from '../ports/volumes.ts'
import type { CreateDeps } from './create-backup.ts'
import { findParent, type PlacedBackup, placeOf, readManifest } from './find-backup.ts'
import type { Run, RunOperation } from './operation.ts'
import { listObjects } from './remove-objects.ts'

export type RestoreDeps = Pick<
  CreateDeps,
  'journal' | 'stores' | 'volumes' | 'spool' | 'budget' | 'sizes'
>

/** A longer chain is no chain that anyone made. */
const linksMax = 1000

/** So many extents are named in an event; the rest is summed up. */
const extentsMax = 200

/** A backup of the chain: where it lies and what its metadata object says. */
type Link = { readonly place: PlacedBackup; readonly manifest: Manifest }

/**
 * Restores a backup, with all it builds on, onto a volume: each byte fetched, verified and written
 * once. A run that was cut short begins anew. Where it fails after the first write, the error's
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

    await using target = await deps.volumes.openTarget(targetVolumeId, signal)
    log.info('restoring', { links: chain.length, target: target.path, volume_is_new: volumeIsNew })
    const links = chain.map(({ manifest }) => manifest)
    await writeLinks(run, links, target, store, deps, signal)
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
  links: readonly Manifest[],
  target: VolumeWriter,
  store: ObjectStore,
  { budget, sizes }: RestoreDeps,
  signal: AbortSignal,
): Promise<void> {
  const restored = extentSet()
  const options = {
    volumeIsNew: run.job.request.volumeIsNew,
    memoryMax: sizes.memoryMax,
    workers: sizes.workers,
    restored,
  }
  try {
    const steps = restoreVolume(links, target, store, options, budget, signal)
    for await (const { restoredBytes, totalBytes } of steps) run.progress(restoredBytes, totalBytes)
  } catch (error) {
    if (hasCode(error, 'VOLUME_TOO_SMALL')) throw error // Nothing was written.
    throw withExtents(toAgentError(error), restored)
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
