import type { BackupRecord } from './backup-record.ts'
import { posixContainer, posixPrefix, swiftPrefix } from './object-names.ts'

/** Where a driver of Cinder's puts the objects of a backup. */
export type StoreLayout = {
  /** For a backup whose record names no container. */
  readonly defaultContainer: (backupId: string) => string
  /** `stamp`: `YYYYMMDDHHMMSS`, UTC. */
  readonly prefix: (record: BackupRecord, stamp: string) => string
  /** What the prefixes of all backups of a volume start with. */
  readonly volumePrefix: (volumeId: string) => string
}

/** Source: cinder/backup/drivers/swift.py. */
export function swiftLayout(container: string, availabilityZone: string): StoreLayout {
  return {
    defaultContainer: () => container,
    prefix: ({ id, volume_id: volumeId }, stamp) =>
      swiftPrefix({ volumeId, backupId: id, stamp }, availabilityZone),
    volumePrefix: (volumeId) => `volume_${volumeId}/`,
  }
}

/** Source: cinder/backup/drivers/posix.py. `container`: `backup_container`; null: a folder each. */
export function posixLayout(container: string | null): StoreLayout {
  return {
    defaultContainer: (backupId) => container ?? posixContainer(backupId),
    prefix: ({ id, volume_id: volumeId }, stamp) => posixPrefix({ volumeId, backupId: id, stamp }),
    volumePrefix: (volumeId) => `volume_${volumeId}_`,
  }
}
