import type { BackupRecord, BackupWithParents } from '../domain/backup-record.ts'
import { AgentError, hasCode } from '../domain/errors.ts'
import { checkPrefix, metadataName } from '../domain/object-names.ts'
import type { RequestContext } from '../domain/request-context.ts'
import type { StoreLayout } from '../domain/store-layout.ts'
import { type Manifest, readMetadata } from '../engine/read-manifest.ts'
import type { ObjectStore } from '../ports/object-store.ts'
import type { SpoolFile } from '../ports/spool.ts'
import { listObjects } from './remove-objects.ts'

/** A backup that can be read: whose it is and where its objects lie. */
export type PlacedBackup = {
  readonly id: string
  readonly volumeId: string
  /** As the record says; null where it says none, or there is no record. */
  readonly parentId: string | null
  readonly sizeGib: number | null
  readonly container: string
  readonly objectPrefix: string
}

export type FindDeps = {
  /** Knows backups by their ids: the journal, or Cinder's rows. */
  readonly journal: {
    record(
      backupId: string,
      signal: AbortSignal,
    ): BackupRecord | null | Promise<BackupRecord | null>
  }
  readonly store: ObjectStore
  readonly layout: StoreLayout
}

/** Where the objects of a record lie. Throws RECORD_MISMATCH or BACKUP_NOT_FOUND. */
export function placeOf(record: BackupRecord): PlacedBackup {
  const { id, container, service_metadata: objectPrefix } = record
  if (container === null || objectPrefix === null) {
    throw new AgentError(
      'BACKUP_NOT_FOUND',
      `backup ${id} has no container or no service_metadata: send the record of its last event`,
      { backupId: id },
    )
  }
  checkPrefix(objectPrefix, record)
  return {
    id,
    volumeId: record.volume_id,
    parentId: record.parent_id,
    sizeGib: record.size,
    container,
    objectPrefix,
  }
}

/**
 * The parent of `child` (decision D26): as the request nests it, else as the journal knows it, else
 * by a listing of the volume's backups. Rejects with PARENT_NOT_FOUND, PARENT_MISMATCH (another
 * volume's) or PROJECT_MISMATCH.
 */
export async function findParent(
  child: PlacedBackup,
  parentId: string,
  asked: { readonly backup: BackupWithParents; readonly context: RequestContext },
  deps: FindDeps,
  signal: AbortSignal,
): Promise<PlacedBackup> {
  const known = nested(asked.backup, parentId) ?? (await deps.journal.record(parentId, signal))
  if (known !== null) {
    checkParent(known, child, asked)
    if (known.container !== null && known.service_metadata !== null) return placeOf(known)
  }
  const found = await findByListing(child, parentId, deps, signal)
  if (found !== null) return found
  throw new AgentError(
    'PARENT_NOT_FOUND',
    `the parent ${parentId} of backup ${child.id} is neither in the request nor in the journal nor in container ${child.container}: nest it in the request, or take a full backup`,
    { backupId: child.id, parentId },
  )
}

/**
 * What the metadata object of a backup says, its chunks in `file`. Rejects with the code `missing`
 * where there is none, with RECORD_MISMATCH where it names another parent than the record, else as
 * `readMetadata`.
 */
export async function readManifest(
  store: ObjectStore,
  { id, volumeId, container, objectPrefix: prefix, parentId }: PlacedBackup,
  file: SpoolFile,
  missing: 'BACKUP_NOT_FOUND' | 'PARENT_NOT_FOUND',
  signal: AbortSignal,
): Promise<Manifest> {
  const record = { id, volume_id: volumeId }
  let manifest: Manifest
  try {
    manifest = await readMetadata(store, { container, prefix, record }, file, signal)
  } catch (error) {
    if (!hasCode(error, 'OBJECT_NOT_FOUND')) throw error
    throw new AgentError(
      missing,
      `backup ${id} has no metadata object ${container}/${metadataName(prefix)}: it was never finished, or it was deleted`,
      { backupId: id },
      error,
    )
  }
  if (parentId === null || parentId === manifest.parentId) return manifest
  throw new AgentError(
    'RECORD_MISMATCH',
    `the record of backup ${id} names parent ${parentId}, its metadata object ${manifest.parentId ?? 'none'}`,
    { backupId: id },
  )
}

function nested(backup: BackupWithParents, id: string): BackupRecord | null {
  for (let link: BackupWithParents | null = backup.parent; link !== null; link = link.parent) {
    if (link.record.id === id) return link.record
  }
  return null
}

function checkParent(
  parent: BackupRecord,
  child: PlacedBackup,
  { backup, context }: { backup: BackupWithParents; context: RequestContext },
): void {
  if (parent.volume_id !== child.volumeId) {
    throw new AgentError(
      'PARENT_MISMATCH',
      `the parent ${parent.id} of backup ${child.id} is a backup of volume ${parent.volume_id}, not of ${child.volumeId}`,
      { backupId: child.id, parentId: parent.id },
    )
  }
  const { project_id: project } = backup.record
  if (context.isAdmin || parent.project_id === null || project === null) return
  if (parent.project_id === project) return
  throw new AgentError(
    'PROJECT_MISMATCH',
    `the parent ${parent.id} of backup ${child.id} belongs to project ${parent.project_id}, not to ${project}`,
    { backupId: child.id, parentId: parent.id },
  )
}

async function findByListing(
  child: PlacedBackup,
  parentId: string,
  { store, layout }: FindDeps,
  signal: AbortSignal,
): Promise<PlacedBackup | null> {
  const { volumeId } = child
  for (const container of new Set([child.container, layout.defaultContainer(parentId)])) {
    const prefix = await findPrefix({ id: parentId, volumeId, container }, store, layout, signal)
    if (prefix === null || !prefix.isComplete) continue
    const { objectPrefix } = prefix
    return { id: parentId, volumeId, parentId: null, sizeGib: null, container, objectPrefix }
  }
  return null
}

/**
 * The prefix under which a container holds objects of a backup, and whether the metadata object, which
 * closes a backup, is among them. Null where it holds none.
 */
export async function findPrefix(
  { id, volumeId, container }: { id: string; volumeId: string; container: string },
  store: ObjectStore,
  layout: StoreLayout,
  signal: AbortSignal,
): Promise<{ readonly objectPrefix: string; readonly isComplete: boolean } | null> {
  const mark = `_backup_${id}`
  let objectPrefix: string | null = null
  for await (const { name } of listObjects(
    store,
    container,
    layout.volumePrefix(volumeId),
    signal,
  )) {
    const at = name.indexOf(mark)
    if (at === -1) continue
    objectPrefix = name.slice(0, at + mark.length)
    checkPrefix(objectPrefix, { id, volume_id: volumeId })
    if (name === metadataName(objectPrefix)) return { objectPrefix, isComplete: true }
  }
  return objectPrefix === null ? null : { objectPrefix, isComplete: false }
}
