import type { BackupRecord } from '../domain/backup-record.ts'
import type { AgentError } from '../domain/errors.ts'
import type { Ending, Job } from '../domain/job.ts'
import type { Log } from '../ports/log.ts'

/**
 * What a job makes of the rows that others see: those of Cinder's database, or none where the record
 * travels with the request. The journal stays the truth about what was accepted and how far it got; the
 * rows are the truth about what is wanted. Every write is made again where its job is.
 */
export interface Rows {
  /** False: everything below changes nothing. */
  readonly isDatabase: boolean

  /** The record that a start of a job begins with; null: there is no row, the journal's record stands. */
  record(job: Job, signal: AbortSignal): Promise<BackupRecord | null>

  /**
   * Judges whether the rows fit what is asked for, and resolves to what the record gains by it. Rejects
   * with AgentError where they do not, with OPERATION_CANCELLED where nobody wants it any more.
   */
  admit(
    job: Job,
    record: BackupRecord,
    log: Log,
    signal: AbortSignal,
  ): Promise<Partial<BackupRecord> | null>

  /** Rejects with OPERATION_CANCELLED where the row says that nobody wants the backup any more. */
  change(job: Job, fields: Partial<BackupRecord>, signal: AbortSignal): Promise<void>

  /** Why nobody wants the result of a running job any more; null: it is wanted. */
  unwanted(job: Job, signal: AbortSignal): Promise<AgentError | null>

  /** Makes the rows say how a job has ended, and resolves to the ending that came of it. */
  settle(job: Job, ending: Ending, log: Log, signal: AbortSignal): Promise<Ending>

  /** Told when the end is in the journal. */
  ended(record: BackupRecord): void
}

/** Records that travel with the requests (decision D3). */
export const noRows: Rows = {
  isDatabase: false,
  record: async () => null,
  admit: async () => null,
  change: async () => undefined,
  unwanted: async () => null,
  settle: async (_job, ending) => ending,
  ended: () => undefined,
}
