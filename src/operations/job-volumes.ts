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
  readonly records: Pick<
    Records,
    'volume' | 'snapshot' | 'backup' | 'strayTemporaries' | 'lastHeartbeat'
  >
  readonly deviceWaitMs: number
  /** How long a start leaves to what an earlier one asked for, before it looks whether to ask again. */
  readonly earlierAskMs: number
  /** A broker or a cinder-volume that is restarted forgets what it was asked. */
  readonly askAgainMs: number
  /** A cinder-volume that lives has begun by then, where the broker was away meanwhile. */
  readonly unheardMs: number
  /** The same where nothing was: one with more to do than it has hands for begins late. */
  readonly busyMs: number
  /** Counts the connections to the broker; null while there is none. */
  readonly session: () => number | null
}

/** How often a job that waits for its device looks whether its row tells of one. */
const lookMs = 10_000

/** The clocks of Cinder's hosts are no further apart. */
const clockSkewMs = 10_000

/** Devices that cinder-volume makes ready and exports to this host (spec of cinder-backup, 9 and 11). */
export function cinderJobVolumes(deps: Deps): JobVolumes {
  const { storage, records, deviceWaitMs, earlierAskMs, askAgainMs, unheardMs } = deps

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
    const isAsked = !run.isFirst && !isAsItIs
    let askAtMs = monotonicMs() + (isAsked ? earlierAskMs : 0)
    let unheard: Unheard | null = null
    let hasAskedAgain = false
    do {
      const isMade = record.temp_volume_id !== null || record.temp_snapshot_id !== null
      const isLost = !isMade && unheard !== null && (await unheard(signal))
      if (isLost) {
        hasAskedAgain = true
        run.log.warn('cinder-volume lives and has begun nothing: it is asked once more')
      }
      const isDue = isLost || (!isMade && monotonicMs() >= askAtMs)
      if (isDue && isAsked && (await isBeingMade(record, records, signal))) {
        askAtMs = monotonicMs() + earlierAskMs // The copy of a large volume takes its time.
      } else if (isDue) {
        const asked = { record, parent: backup.parent }
        const given = await storage.requestDevice(asked, volume, askingFor(run), signal)
        if (given !== null) return run.keepDevice(given, signal)
        unheard = isAsItIs || hasAskedAgain ? null : unheardBy(record, volume, deps)
        askAtMs = isAsItIs ? monotonicMs() + askAgainMs : Number.POSITIVE_INFINITY
      }
      const lookAtMs = Math.min(deadlineMs, askAtMs)
      const waitMs = Math.min(lookMs, unheardMs, lookAtMs - monotonicMs())
      const came = await run.device(Math.max(1, waitMs), signal)
      if (came !== null) return came
      const found = await madeFor(record, { records, storage }, signal)
      if (found !== null) return run.keepDevice(found, signal)
      record = await recordOf(run, signal)
    } while (monotonicMs() < deadlineMs)
    throw new AgentError(
      'DEVICE_TIMED_OUT',
      `cinder-volume did not make volume ${volume.id} ready for backup ${record.id} in ${deviceWaitMs / 1000} s: see its log on ${volume.host ?? 'no host'}, or make device_timeout longer where it copies for so long`,
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

type Unheard = (signal: AbortSignal) => Promise<boolean>

/**
 * Tells whether a request that was just made was lost, though something temporary may take its time: a
 * cinder-volume that lives makes the row of it at once, unless it is busy with as many others as it does at
 * once. That it lives is seen by a heartbeat after the time that it had; one that was down until then may be
 * about to begin. Each request that comes late makes a copy of its own: more than a second one is never sent.
 */
function unheardBy(record: BackupRecord, volume: VolumeRow, deps: Deps): Unheard {
  const { records, unheardMs, busyMs } = deps
  const askedMs = monotonicMs()
  const session = deps.session()
  const host = volume.host?.split('#')[0] ?? ''
  let first: string | null = null
  return async (signal) => {
    const now = deps.session()
    const wasAway = session !== null && now !== null && now !== session
    if (monotonicMs() - askedMs < (wasAway ? unheardMs : busyMs)) return false
    if ((await begunFor(record, records, signal)).length > 0) return false
    const last = await records.lastHeartbeat('cinder-volume', host, signal)
    first ??= last
    if (last === null || last === first) return false
    // What was in the making a moment ago may be named in the row by now.
    const row = await records.backup(record.id, signal)
    return row === null || (row.temp_volume_id === null && row.temp_snapshot_id === null)
  }
}

/**
 * Whether nothing temporary is made for the backup: only then does a second request cost nothing.
 * Source: cinder/volume/driver.py, `_get_backup_volume_temp_volume`.
 */
function isMadeReadyAsItIs(record: BackupRecord, volume: VolumeRow): boolean {
  return record.snapshot_id === null && volume.previous_status === 'available'
}

/** Whether cinder-volume is at work on what was asked for. */
async function isBeingMade(
  record: BackupRecord,
  records: Deps['records'],
  signal: AbortSignal,
): Promise<boolean> {
  const statuses = await begunFor(record, records, signal)
  return statuses.some((status) => status === 'creating' || status === 'backing-up')
}

/** The statuses of what cinder-volume has begun for the backup, and has not told of yet. */
async function begunFor(
  { volume_id: volumeId, created_at: createdAt }: BackupRecord,
  records: Deps['records'],
  signal: AbortSignal,
): Promise<readonly (string | null)[]> {
  const { volumes, snapshots } = await records.strayTemporaries(volumeId, signal)
  const sinceMs = createdAt === null ? 0 : Date.parse(createdAt) - clockSkewMs
  // What is older was left by a cinder-volume that ended in the middle of it.
  return [...volumes, ...snapshots]
    .filter(({ columns }) => Date.parse(String(columns['created_at'])) >= sinceMs)
    .map(({ status }) => status)
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
