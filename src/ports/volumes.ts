import type { Extent } from '../domain/extents.ts'

/**
 * What a thread of this process must know to use a volume that another thread has open: descriptors
 * belong to the process. Valid until the volume is disposed. Plain data.
 */
export type SharedVolume = {
  readonly path: string
  readonly sizeBytes: number
  readonly fd: number
  /** Open with O_DIRECT besides; null where that is of no use or cannot be had. */
  readonly directFd: number | null
}

/** A run of bytes that may be anything; what lies before it reads as zeros. */
export type DataRun = { readonly start: number; readonly end: number }

/** A volume (or a snapshot of it) open for reading. Its size is fixed when it is opened. */
export interface VolumeReader extends AsyncDisposable {
  readonly path: string
  readonly sizeBytes: number

  /** How other threads reach it; null where it lives in this one's memory. */
  readonly shared: SharedVolume | null

  /**
   * The first run at or after `offsetBytes` that may hold something; null where only zeros are left.
   * A volume that cannot tell says that the rest is one run. Never reads the data.
   */
  dataRun(offsetBytes: number): DataRun | null

  /**
   * Fills `into` with the bytes from `offsetBytes` on. Rejects with VOLUME_READ_FAILED (the context
   * names `offsetBytes`, `lengthBytes` and the exact `badRanges`) or VOLUME_CHANGED where the device
   * ends before that.
   */
  read(offsetBytes: number, into: Uint8Array): Promise<void>

  /**
   * How large the device is by now: larger than `sizeBytes` where it has grown since it was opened.
   * Rejects with VOLUME_CHANGED where it has shrunk, which a reader of runs alone may not notice.
   */
  sizeNow(): Promise<number>
}

/** A volume open for restoring onto. Never created, cut or grown. */
export interface VolumeWriter extends VolumeReader {
  /** Tells the volume from others over restarts of the agent and the host: which device, what size. */
  readonly identity: string

  /**
   * While it is the same, what was written is there even where it was not synced: it changes with the
   * boot of the host and with the device behind the path.
   */
  readonly epoch: string

  /**
   * The last look before other threads write: rejects with VOLUME_CHANGED or VOLUME_IN_USE where it is
   * no longer what was opened. `write` and `punch` of the writer that opened it do so by themselves.
   */
  check(): Promise<void>

  /**
   * Writes all of `data` at `offsetBytes`. Rejects with VOLUME_WRITE_FAILED, VOLUME_TOO_SMALL where
   * that goes beyond the end, and, before the first byte, VOLUME_CHANGED or VOLUME_IN_USE where it is
   * no longer what was opened.
   */
  write(offsetBytes: number, data: Uint8Array): Promise<void>

  /**
   * Makes an extent read as zeros without writing them, and gives its room back. Resolves to false
   * where the device cannot; then nothing has changed. Rejects as `write`.
   */
  punch(extent: Extent): Promise<boolean>

  /** Resolves when everything written is on stable storage. Rejects with VOLUME_WRITE_FAILED. */
  sync(): Promise<void>
}

/**
 * How a volume becomes a device on this host. Rejects with AgentError: VOLUME_NOT_FOUND,
 * VOLUME_OUTSIDE_ROOTS, VOLUME_IN_USE, VOLUME_INVALID_SIZE, VOLUME_CHANGED, VOLUME_READ_FAILED or
 * VOLUME_WRITE_FAILED (no permission, read-only), ARGUMENT_INVALID (an id that is no UUID).
 * `test/contracts/volumes.ts` is the executable form.
 */
export interface Volumes {
  /** Opens the volume, or the snapshot where `snapshotId` is given. */
  openSource(
    source: { readonly volumeId: string; readonly snapshotId: string | null },
    signal: AbortSignal,
  ): Promise<VolumeReader>

  /** Opens the volume for writing; no one else may hold it. */
  openTarget(volumeId: string, signal: AbortSignal): Promise<VolumeWriter>
}
