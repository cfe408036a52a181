/**
 * Scratch space on this host for what must not grow in memory: packed digests and lists of chunks.
 * Written in order, read from the start. Gone when disposed, and at the next start of the agent.
 */
export interface SpoolFile extends AsyncDisposable {
  readonly sizeBytes: number
  /** Appends; rejects with JOURNAL_UNAVAILABLE where the disk is full. The bytes may be reused after. */
  append(bytes: Uint8Array): Promise<void>
  /** Writes anywhere; what lies between the end and `offsetBytes` becomes zeros. Rejects as `append`. */
  write(offsetBytes: number, bytes: Uint8Array): Promise<void>
  /** Forgets everything written. */
  clear(): Promise<void>
  /** Resolves when everything written is on stable storage. */
  sync(): Promise<void>
  /** Fills `into` from `offsetBytes`; resolves to how many bytes there were. */
  read(offsetBytes: number, into: Uint8Array): Promise<number>
}

export interface Spool {
  /** A new, empty file. */
  open(): Promise<SpoolFile>

  /**
   * The file `name` of a job, as an earlier open left it, empty at first. It outlives its disposal, the
   * agent and `kill -9`; what was not synced may be lost with the host's power. One open at a time.
   */
  keep(jobId: string, name: string): Promise<SpoolFile>

  /** Removes what is kept of a job. Resolves where there is nothing. */
  forget(jobId: string): Promise<void>

  /** Removes what is kept of all jobs but these. */
  forgetAllBut(jobIds: ReadonlySet<string>): Promise<void>
}
