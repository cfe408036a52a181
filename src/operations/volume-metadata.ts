import { AgentError } from '../domain/errors.ts'
import { isJsonObject, type Json, type JsonObject } from '../domain/json.ts'
import { parseVolumeMeta, volumeMetaText } from '../domain/volume-meta.ts'
import type { Columns, Records, VolumeChange, VolumeRow } from '../ports/records.ts'
import type { Run } from './operation.ts'

/** What a volume's own metadata has to do with its backups (spec of cinder-backup, 5.4). */
export type VolumeMetadata = {
  /** The text that is kept with the backup. */
  collect(run: Run, signal: AbortSignal): Promise<string | null>
  /** Rejects, before anything is written, what cannot be applied afterwards. */
  check(run: Run, documents: readonly (string | null)[]): void
  /** Gives the target of a restore what a chain's backups kept, the oldest first. */
  apply(run: Run, documents: readonly (string | null)[], signal: AbortSignal): Promise<void>
}

/** The metadata as the request has it; whoever asks for a restore gets it with the last event. */
export const requestedVolumeMetadata: VolumeMetadata = {
  collect: async ({ job }) => job.request.volumeMeta,
  check: () => undefined,
  apply: async () => undefined,
}

type Deps = {
  readonly records: Records
  /** `backup_metadata_version`. */
  readonly version: number
}

/** The metadata of Cinder's rows. Source: cinder/backup/driver.py, BackupMetadataAPI. */
export function databaseVolumeMetadata({ records, version }: Deps): VolumeMetadata {
  return {
    async collect(run, signal) {
      const volume = await records.volume(run.record().volume_id, signal)
      return volume === null ? null : volumeMetaText(documentOf(volume, version))
    },
    check(run, documents) {
      for (const document of parsed(documents)) checkKey(run.record().id, document)
    },
    async apply(run, documents, signal) {
      const { targetVolumeId } = run.job.request
      if (targetVolumeId === null) return
      for (const document of parsed(documents)) {
        await applyOne(records, targetVolumeId, document, signal)
      }
    },
  }
}

function documentOf({ columns, metadata, glanceMetadata }: VolumeRow, version: number): JsonObject {
  const isFull = (texts: Readonly<Record<string, string>>) => Object.keys(texts).length > 0
  return {
    version,
    'volume-base-metadata': baseOf(columns),
    ...(isFull(metadata) ? { 'volume-metadata': metadata } : {}),
    ...(isFull(glanceMetadata) ? { 'volume-glance-metadata': glanceMetadata } : {}),
  }
}

function baseOf(columns: Columns): JsonObject {
  const entries = Object.entries(columns).map(([name, value]) => [name, baseValue(name, value)])
  return Object.fromEntries(entries)
}

/** Times as Python writes those that know no zone, always with their fraction. */
function baseValue(name: string, value: Json): Json {
  if (!name.endsWith('_at') || typeof value !== 'string') return value
  const [, whole, fraction = ''] = value.match(/^([\d-]+[T ][\d:]+)(?:\.(\d+))?/) ?? []
  if (whole === undefined) return value
  return `${whole.replace(' ', 'T')}.${fraction.slice(0, 6).padEnd(6, '0')}`
}

function parsed(documents: readonly (string | null)[]): readonly JsonObject[] {
  return documents.flatMap((text) => (text === null || text === '' ? [] : [parseVolumeMeta(text)]))
}

/**
 * A backup of an encrypted volume is as it lies on the device, and whoever has not its key cannot read
 * it. Old backups tell of the key only here. Source: cinder/backup/driver.py, `_restore_vol_base_meta`.
 */
function checkKey(backupId: string, document: JsonObject): void {
  const base = document['volume-base-metadata']
  if (!isJsonObject(base ?? null) || ((base as JsonObject)['encryption_key_id'] ?? null) === null) {
    return
  }
  throw new AgentError(
    'ENCRYPTION_UNSUPPORTED',
    `backup ${backupId} is of an encrypted volume, and keys cannot be kept yet: restore it with cinder-backup`,
    { backupId },
  )
}

async function applyOne(
  records: Records,
  volumeId: string,
  document: JsonObject,
  signal: AbortSignal,
): Promise<void> {
  const base = document['volume-base-metadata']
  if (isJsonObject(base ?? null)) await applyBase(records, volumeId, base as JsonObject, signal)
  const user = textsIn(document['volume-metadata'])
  if (user !== null) await records.replaceVolumeMetadata(volumeId, 'volume', user, signal)
  const image = textsIn(document['volume-glance-metadata'])
  if (image === null) return
  await records.replaceVolumeMetadata(volumeId, 'glance', image, signal)
  await records.changeVolume(volumeId, null, { bootable: true }, signal)
}

/**
 * A volume that looks as if it was made for the restore gets the name that was backed up, and the
 * description with it. One that has a name keeps both.
 */
async function applyBase(
  records: Records,
  volumeId: string,
  base: JsonObject,
  signal: AbortSignal,
): Promise<void> {
  const name = textOf(base['display_name'])
  const target = await records.volume(volumeId, signal)
  const now = textOf(target?.columns['display_name']) ?? ''
  if (name === null || name === '' || (now !== '' && !now.startsWith('restore_backup_'))) return
  const change: VolumeChange = {
    display_name: name,
    ...(Object.hasOwn(base, 'display_description')
      ? { display_description: textOf(base['display_description']) }
      : {}),
  }
  await records.changeVolume(volumeId, null, change, signal)
}

function textOf(json: Json | undefined): string | null {
  return typeof json === 'string' ? json : null
}

function textsIn(json: Json | undefined): Readonly<Record<string, string>> | null {
  if (!isJsonObject(json ?? null)) return null
  return Object.fromEntries(
    Object.entries(json as JsonObject).map(([key, value]) => [key, String(value ?? '')]),
  )
}
