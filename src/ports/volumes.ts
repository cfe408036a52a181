/** A volume (or a snapshot of it) open for reading. Its size is fixed when it is opened. */
export interface VolumeReader extends AsyncDisposable {
  readonly path: string
  readonly sizeBytes: number

  /**
   * Fills `into` with the bytes from `offsetBytes` on. Rejects with VOLUME_READ_FAILED (the context
   * names `offsetBytes` and `lengthBytes`) or VOLUME_CHANGED where the device ends before that.
   */
  read(offsetBytes: number, into: Uint8Array): Promise<void>
}

/** A volume open for restoring onto. Never created, cut or grown. */
export interface VolumeWriter extends VolumeReader {
  /** Writes all of `data` at `offsetBytes`. Rejects with VOLUME_WRITE_FAILED. */
  write(offsetBytes: number, data: Uint8Array): Promise<void>

  /** Resolves when everything written is on stable storage. Rejects with VOLUME_WRITE_FAILED. */
  sync(): Promise<void>
}

/**
 * How a volume becomes a device on this host. Rejects with AgentError: VOLUME_NOT_FOUND,
 * VOLUME_OUTSIDE_ROOTS, VOLUME_IN_USE. `test/contracts/volumes.ts` is the executable form.
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
