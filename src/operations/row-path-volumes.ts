import { AgentError } from '../domain/errors.ts'
import type { Records, VolumeRow } from '../ports/records.ts'
import type { Volumes } from '../ports/volumes.ts'
import type { JobVolumes } from './job-volumes.ts'

type Deps = { readonly volumes: Volumes; readonly records: Pick<Records, 'volume'> }

/**
 * Devices that are here under names made of the ids that Cinder's rows tell: after a migration a volume is known
 * to its backend by another id. Nobody is asked for a copy: a volume that is written to meanwhile is not
 * backed up, for what comes out would be of no moment at all.
 */
export function rowPathVolumes({ volumes, records }: Deps): JobVolumes {
  async function rowOf(volumeId: string, backupId: string, signal: AbortSignal) {
    const row = await records.volume(volumeId, signal)
    if (row !== null) return row
    throw new AgentError(
      'VOLUME_NOT_FOUND',
      `volume ${volumeId} of backup ${backupId} is not in Cinder's database: it was deleted meanwhile`,
      { volumeId },
    )
  }

  return {
    async source(run, signal) {
      const { id, volume_id: volumeId, snapshot_id: snapshotId } = run.record()
      const volume = await rowOf(volumeId, id, signal)
      if (snapshotId === null && isInUse(volume)) {
        throw new AgentError(
          'VOLUME_IN_USE',
          `volume ${volumeId} is attached, and with volumes = path nobody makes a copy that stands still: detach it, back up a snapshot of it, or set volumes = cinder`,
          { volumeId },
        )
      }
      return volumes.openSource({ volumeId: nameId(volume), snapshotId }, signal)
    },
    async target(run, volumeId, signal) {
      const volume = await rowOf(volumeId, run.record().id, signal)
      return volumes.openTarget(nameId(volume), signal)
    },
  }
}

/** Source: cinder/volume/driver.py, `_get_backup_volume_temp_volume`: the status before counts. */
function isInUse({ previous_status: before, columns }: VolumeRow): boolean {
  return before === 'in-use' || columns['attach_status'] === 'attached'
}

/** Source: cinder/objects/volume.py, `name_id`. */
function nameId({ id, columns }: VolumeRow): string {
  const { _name_id: name } = columns
  return typeof name === 'string' && name !== '' ? name : id
}
