import type { BackupRecord } from '../domain/backup-record.ts'
import type { BackupDevice, Job, Operation } from '../domain/job.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Log } from '../ports/log.ts'

/** One run of a job as its operation sees it. */
export type Run = {
  readonly job: Job
  /** Whether no earlier start has begun the job. */
  readonly isFirst: boolean
  readonly log: Log

  /** The record as it now is. */
  record(): BackupRecord

  /** Changes the record; resolves when the change is in the journal. */
  change(fields: Partial<BackupRecord>, signal: AbortSignal): Promise<void>

  /**
   * Notes at once that so many bytes are done: a start that moves this mark is no crash in vain. Where
   * the journal cannot be written, it is noted later.
   */
  reached(bytesDone: number): void

  /**
   * The device that cinder-volume gives for the backup, once it is here; null where none comes in `ms`.
   * Meanwhile others may work.
   */
  device(ms: number, signal: AbortSignal): Promise<BackupDevice | null>

  /** Notes a device that was found otherwise; resolves to the one that stays, which came before perhaps. */
  keepDevice(found: BackupDevice, signal: AbortSignal): Promise<BackupDevice>

  /** Tells how far the run got, a backup also in chunks. Cheap: what is too often is not sent. */
  progress(bytesDone: number, bytesTotal: number, chunkCount?: number): void
}

/** `record` holds what changes at a good end; `extra` goes into the `.end` event. */
export type Result = {
  readonly record: Partial<BackupRecord>
  readonly extra?: JsonObject
}

/**
 * Does the work of a job, from where earlier starts got. Rejects with the
 * signal's reason when it is aborted, else with AgentError; by then nothing it started still runs.
 */
export type RunOperation = (run: Run, signal: AbortSignal) => Promise<Result>

export type Operations = Readonly<Record<Operation, RunOperation>>
