/** A volume (or a snapshot of it) open for reading. Its size is fixed when it is opened. */
export interface VolumeReader extends AsyncDisposable {
  readonly path: string
  readonly sizeBytes: number

  /**
   * Fills `into` with the bytes from `offsetBytes` on. Rejects with VOLUME_READ_FAILED (the context
   * names `offsetBytes`, `lengthBytes` and the exact `badRanges`) or VOLUME_CHANGED where the device ends before that.
   */
  read(offsetBytes: number, into: Uint8Array): Promise<void>
}

/** A volume open for restoring onto. Never created, cut or grown. */
export interface VolumeWriter extends VolumeReader {
  /**
   * Writes all of `data` at `offsetBytes`. Rejects with VOLUME_WRITE_FAILED, VOLUME_TOO_SMALL where
   * that goes beyond the end, and, before the first byte, VOLUME_CHANGED or VOLUME_IN_USE where it is
   * no longer what was opened.
   */
  write(offsetBytes: number, data: Uint8Array): Promise<void>

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
