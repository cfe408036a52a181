import type { BackupRecord } from '../domain/backup-record.ts'
import { AgentError } from '../domain/errors.ts'
import type { BackupDevice } from '../domain/job.ts'
import { monotonicMs } from '../lib/clock.ts'
import type { Asking, BlockStorage } from '../ports/block-storage.ts'
import type { Log } from '../ports/log.ts'
import type { Records, VolumeRow } from '../ports/records.ts'
import type { VolumeReader, Volumes, VolumeWriter } from '../ports/volumes.ts'
import type { Run } from './operation.ts'
import { temporaryName } from './remove-temporaries.ts'

/** How the source and the target of a job become devices of this host. */
export type JobVolumes = {
  source(run: Run, signal: AbortSignal): Promise<VolumeReader>
  target(run: Run, volumeId: string, signal: AbortSignal): Promise<VolumeWriter>
}

/** Devices that are here under names made of their ids. */
export function pathJobVolumes(volumes: Volumes): JobVolumes {
  return {
    source(run, signal) {
      const { volume_id: volumeId, snapshot_id: snapshotId } = run.record()
      return volumes.openSource({ volumeId, snapshotId }, signal)
    },
    target: (_run, volumeId, signal) => volumes.openTarget(volumeId, signal),
  }
}

type Deps = {
  readonly storage: BlockStorage
  readonly records: Pick<Records, 'volume' | 'snapshot' | 'backup'>
  readonly deviceWaitMs: number
  /** A broker or a cinder-volume that is restarted forgets what it was asked. */
  readonly askAgainMs: number
}

/** How often a job that waits for its device looks whether its row tells of one. */
const lookMs = 10_000

/** How long a start leaves to what an earlier one asked for, before it asks again. */
const earlierAskMs = 30_000

/** Devices that cinder-volume makes ready and exports to this host (spec of cinder-backup, 9 and 11). */
export function cinderJobVolumes({ storage, records, deviceWaitMs, askAgainMs }: Deps): JobVolumes {
  async function volumeRow(run: Run, volumeId: string, signal: AbortSignal): Promise<VolumeRow> {
    const row = await records.volume(volumeId, signal)
    if (row !== null) return row
    throw new AgentError(
      'VOLUME_NOT_FOUND',
      `volume ${volumeId} of backup ${run.record().id} is not in Cinder's database: it was deleted meanwhile`,
      { volumeId },
    )
  }

  async function deviceOf(run: Run, volume: VolumeRow, signal: AbortSignal): Promise<BackupDevice> {
    if (run.job.device !== null) return run.job.device
    const { backup } = run.job.request
    const deadlineMs = monotonicMs() + deviceWaitMs
    let record = await recordOf(run, signal)
    const isAsItIs = isMadeReadyAsItIs(record, volume)
    // An earlier start has asked perhaps, and each time that is asked something temporary may be made.
    let askAtMs = monotonicMs() + (run.isFirst || isAsItIs ? 0 : earlierAskMs)
    do {
      const isMade = record.temp_volume_id !== null || record.temp_snapshot_id !== null
      if (!isMade && monotonicMs() >= askAtMs) {
        const asked = { record, parent: backup.parent }
        await storage.requestDevice(asked, volume, askingFor(run), signal)
        askAtMs = isAsItIs ? monotonicMs() + askAgainMs : Number.POSITIVE_INFINITY
      }
      const waitMs = Math.min(lookMs, deadlineMs - monotonicMs(), askAtMs - monotonicMs())
      const device =
        (await run.device(Math.max(1, waitMs), signal)) ??
        (await madeFor(record, { records, storage }, signal))
      if (device !== null) return device
      record = await recordOf(run, signal)
    } while (monotonicMs() < deadlineMs)
    throw new AgentError(
      'DEVICE_TIMED_OUT',
      `cinder-volume did not make volume ${volume.id} ready for backup ${record.id} in ${deviceWaitMs / 1000} s: see its log on ${volume.host ?? 'no host'}`,
      { volumeId: volume.id },
    )
  }

  async function recordOf(run: Run, signal: AbortSignal): Promise<BackupRecord> {
    return (await records.backup(run.record().id, signal)) ?? run.record()
  }

  return {
    async source(run, signal) {
      const volume = await volumeRow(run, run.record().volume_id, signal)
      const device = await deviceOf(run, volume, signal)
      return storage.openSource(device, volume, askingFor(run), signal)
    },
    async target(run, volumeId, signal) {
      const volume = await volumeRow(run, volumeId, signal)
      return storage.openTarget(volume, askingFor(run), signal)
    },
  }
}

/**
 * Whether nothing temporary is made for the backup: only then does a second request cost nothing.
 * Source: cinder/volume/driver.py, `_get_backup_volume_temp_volume`.
 */
function isMadeReadyAsItIs(record: BackupRecord, volume: VolumeRow): boolean {
  return record.snapshot_id === null && volume.previous_status === 'available'
}

/**
 * What the row of a backup says was made for it, where `continue_backup` was lost: it is written there
 * only once it is ready. Source: cinder/volume/driver.py, `_get_backup_volume_temp_volume`.
 */
async function madeFor(
  { temp_volume_id: volumeId, temp_snapshot_id: snapshotId }: BackupRecord,
  { records, storage }: Pick<Deps, 'records' | 'storage'>,
  signal: AbortSignal,
): Promise<BackupDevice | null> {
  if (volumeId !== null) {
    const volume = await records.volume(volumeId, signal)
    return volume !== null && isTemporary(volume) ? storage.madeDevice({ volume }) : null
  }
  if (snapshotId === null) return null
  const snapshot = await records.snapshot(snapshotId, signal)
  return snapshot !== null && isTemporary(snapshot) ? storage.madeDevice({ snapshot }) : null
}

function isTemporary({ columns }: Pick<VolumeRow, 'columns'>): boolean {
  return temporaryName.test(String(columns['display_name']))
}

function askingFor({ job, log }: Run): Asking {
  return { context: job.context, log }
}

/**
 * Does work on an open volume, and closes it. What the work fails of counts more than a volume that is
 * not given back.
 */
export async function withVolume<Volume extends AsyncDisposable, Result>(
  volume: Volume,
  log: Log,
  work: (volume: Volume) => Promise<Result>,
): Promise<Result> {
  let result: Result
  try {
    result = await work(volume)
  } catch (error) {
    try {
      await volume[Symbol.asyncDispose]()
    } catch (reason) {
      log.warn('the volume is not given back', { error: reason })
    }
    throw error
  }
  await volume[Symbol.asyncDispose]()
  return result
}
