import type { BackupWithParents } from '../domain/backup-record.ts'
import type { BackupDevice } from '../domain/job.ts'
import type { RequestContext } from '../domain/request-context.ts'
import type { Log } from './log.ts'
import type { SnapshotRow, VolumeRow } from './records.ts'
import type { VolumeReader, VolumeWriter } from './volumes.ts'

/** On whose behalf cinder-volume is asked, and where what is odd is told. */
export type Asking = { readonly context: RequestContext; readonly log: Log }

/**
 * Cinder's volume service, which decides what is backed up and how this host gets at it. What is opened
 * is attached to this host until it is disposed; disposing rejects with DETACH_FAILED where it is not
 * given back, or with the signal's reason where a stop keeps it from that. `test/contracts/block-storage.ts` is the executable form.
 */
export interface BlockStorage {
  /**
   * Asks for the device of a backup. The answer comes as `continue_backup`, or never: the service does
   * not tell when it cannot. Only where the volume services of this Cinder are too old for that is it
   * waited for; else resolves to null. Rejects with CALL_UNROUTABLE where nobody takes messages for the
   * volume, and with CALL_FAILED and CALL_TIMED_OUT where an old one does not give it.
   */
  requestDevice(
    backup: BackupWithParents,
    volume: VolumeRow,
    asking: Asking,
    signal: AbortSignal,
  ): Promise<BackupDevice | null>

  /** What cinder-volume made for a backup, by its row, as `continue_backup` would give it. */
  madeDevice(
    made: { readonly volume: VolumeRow } | { readonly snapshot: SnapshotRow },
  ): BackupDevice

  /**
   * Attaches what cinder-volume gave for a backup of `volume`, and opens it. Rejects with ATTACH_FAILED, CONNECTION_UNSUPPORTED,
   * VOLUME_INVALID_SIZE where it is shorter than its size says, or as `Volumes.openSource`.
   */
  openSource(
    device: BackupDevice,
    volume: VolumeRow,
    asking: Asking,
    signal: AbortSignal,
  ): Promise<VolumeReader>

  /** Attaches a volume and opens it for writing. Rejects as `openSource` and `Volumes.openTarget`. */
  openTarget(volume: VolumeRow, asking: Asking, signal: AbortSignal): Promise<VolumeWriter>

  /**
   * Resolves where a volume or snapshot is not attached to this host: only then may it be removed, for its device could become
   * another's. Rejects with DETACH_FAILED, or as the one that is asked.
   */
  checkReleased(what: Pick<BackupDevice, 'kind' | 'id'>, signal: AbortSignal): Promise<void>

  /**
   * Gives back what could not be disconnected from this host when it was disposed, or not opened: tries
   * each minute until `signal` aborts.
   */
  run(signal: AbortSignal): Promise<void>

  /**
   * Takes an attachment of a volume back, and resolves when that is done: the volume's row has another
   * status by then. Rejects with CALL_UNROUTABLE, CALL_TIMED_OUT or CALL_FAILED.
   */
  detachVolume(
    volume: VolumeRow,
    attachmentId: string,
    asking: Asking,
    signal: AbortSignal,
  ): Promise<void>

  /** Has a volume removed; nobody tells when that is done. Rejects with CALL_UNROUTABLE. */
  deleteVolume(volume: VolumeRow, asking: Asking, signal: AbortSignal): Promise<void>

  /** Has a snapshot removed, which is of `volume`. Rejects with CALL_UNROUTABLE. */
  deleteSnapshot(
    snapshot: SnapshotRow,
    volume: VolumeRow,
    asking: Asking,
    signal: AbortSignal,
  ): Promise<void>
}
