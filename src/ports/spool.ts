/**
 * Scratch space on this host for what must not grow in memory: packed digests and lists of chunks.
 * Written in order, read from the start. Gone when disposed, and at the next start of the agent.
 */
export interface SpoolFile extends AsyncDisposable {
  readonly sizeBytes: number
  /** Appends; rejects with JOURNAL_UNAVAILABLE where the disk is full. The bytes may be reused after. */
  append(bytes: Uint8Array): Promise<void>
  /** Forgets everything written. */
  clear(): Promise<void>
  /** Fills `into` from `offsetBytes`; resolves to how many bytes there were. */
  read(offsetBytes: number, into: Uint8Array): Promise<number>
}

export interface Spool {
  /** A new, empty file. */
  open(): Promise<SpoolFile>
}
