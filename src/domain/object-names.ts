import type { BackupRecord } from './backup-record.ts'
import { AgentError } from './errors.ts'

// The column `service_metadata`, which keeps the prefix. Source: cinder/db/sqlalchemy/models.py.
const prefixLengthMax = 255

type PrefixParts = {
  readonly volumeId: string
  readonly backupId: string
  /** `YYYYMMDDHHMMSS`, UTC. */
  readonly stamp: string
}

/** Source: cinder/backup/drivers/swift.py, `_generate_object_name_prefix`. */
export function swiftPrefix(
  { volumeId, backupId, stamp }: PrefixParts,
  availabilityZone: string,
): string {
  return `volume_${volumeId}/${stamp}/az_${availabilityZone}_backup_${backupId}`
}

/** Source: cinder/backup/drivers/posix.py, `_generate_object_name_prefix`. */
export function posixPrefix({ volumeId, backupId, stamp }: PrefixParts): string {
  return `volume_${volumeId}_${stamp}_backup_${backupId}`
}

/** Source: cinder/backup/drivers/posix.py, `update_container_name`. */
export function posixContainer(backupId: string): string {
  return `${backupId.slice(0, 2)}/${backupId.slice(2, 4)}/${backupId}`
}

/** `number` counts from 1; from 100000 on the name grows. */
export function chunkName(prefix: string, number: number): string {
  return `${prefix}-${String(number).padStart(5, '0')}`
}

export function metadataName(prefix: string): string {
  return `${prefix}_metadata`
}

export function sha256fileName(prefix: string): string {
  return `${prefix}_sha256file`
}

/** The volume that a prefix names; null where it is none of ours. */
export function volumeOfPrefix(prefix: string): string | null {
  return /^volume_([\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12})[/_]/i.exec(prefix)?.[1] ?? null
}

/**
 * Throws RECORD_MISMATCH unless every object whose name starts with `prefix` belongs to this backup:
 * an empty or foreign prefix would read, replace or delete the objects of others.
 */
export function checkPrefix(prefix: string, record: Pick<BackupRecord, 'id' | 'volume_id'>): void {
  const refuse = (why: string): never => {
    throw new AgentError(
      'RECORD_MISMATCH',
      `the object prefix (service_metadata) of backup ${record.id} ${why}`,
      { backupId: record.id, volumeId: record.volume_id, prefix: prefix.slice(0, 300) },
    )
  }
  if (prefix.length > prefixLengthMax) {
    refuse(`has ${prefix.length} characters, ${prefixLengthMax} at most are kept`)
  }
  const volumePart = `volume_${record.volume_id}`
  if (!prefix.startsWith(volumePart)) refuse(`does not start with ${volumePart}`)
  // After the volume's: who gives a backup its volume's id would mean all backups of that volume.
  if (record.id === '' || !prefix.slice(volumePart.length).includes(record.id)) {
    refuse('does not contain the backup id')
  }
  if (hasControlCharacter(prefix)) refuse('contains control characters')
  // On its way to a store it would become another character, and so another prefix.
  if (!prefix.isWellFormed()) refuse('contains half a character')
  if (prefix.split('/').some((part) => part === '' || part === '.' || part === '..')) {
    refuse('contains an empty part, . or ..')
  }
}

function hasControlCharacter(text: string): boolean {
  return Array.from(text).some((character) => character < ' ' || character === '\x7f')
}
