import type { BackupRecord } from '../domain/backup-record.ts'
import type { BackupDevice, Ending, Job, JobOutcome, JobRequest } from '../domain/job.ts'
import type { RequestContext } from '../domain/request-context.ts'
import type { Notification, ReplyAddress } from './rpc.ts'

/** How a repeated message is known (decision D1). */
export type DeliveryId = {
  /** oslo's `_unique_id`, or the body's digest where there is none. */
  readonly key: string
  /** Whether a key seen before makes it a repetition: for a digest only where it was redelivered. */
  readonly identifies: boolean
}

export type Delivery = {
  readonly id: DeliveryId
  readonly request: JobRequest
  readonly context: RequestContext
  readonly replyTo: ReplyAddress | null
  /** Whether others know that what the journal holds done is to be done once more. */
  readonly isAnew?: boolean
}

/** What the journal knew about a delivery when it was accepted (decision D1). */
export type Acceptance =
  /** A new job, waiting to be run. */
  | { readonly kind: 'new'; readonly job: Job }
  /**
   * This very delivery was seen before: nothing is written. `jobId`: the job that it was accepted
   * for; null where it was refused.
   */
  | { readonly kind: 'repeated'; readonly jobId: string | null }
  /**
   * The same work is in hand; the reply address, if any, waits with it. A token of the same project
   * takes the place of the one that the job had, from its next start on.
   */
  | { readonly kind: 'joined'; readonly job: Job }
  /** The same create or delete ended well: its final event goes out again; nothing is run. */
  | { readonly kind: 'ended-well'; readonly jobId: string }
  /**
   * A create of a backup that is there, made too long ago to know its final event: nothing is
   * written, for to run it would replace a good backup.
   */
  | { readonly kind: 'exists' }

/** A message that must reach the bus, in order, and is kept until the broker has confirmed it. */
export type OutboxEntry = {
  readonly position: number
  readonly notification: Notification
}

export type PendingReply = {
  readonly position: number
  readonly replyTo: ReplyAddress
  readonly outcome: JobOutcome
}

/**
 * What this agent has promised and how far it got. Every method is one transaction that is on
 * stable storage when it returns, and throws JOURNAL_UNAVAILABLE, with nothing changed, where that
 * cannot be had. `test/contracts/journal.ts` is the executable form.
 */
export interface Journal {
  accept(delivery: Delivery): Acceptance

  /**
   * Notes that a request was refused, so that its repetition is known, with the event that says so:
   * once, however often it is refused. Returns false where this very delivery was accepted before:
   * nothing is written then.
   */
  refuse(id: DeliveryId, event: Notification | null): boolean

  /** The jobs that have not ended, in the order of their acceptance. */
  unfinished(): readonly Job[]

  /** Counts a start, with the `.start` event where it is the first. */
  begin(jobId: string, event: Notification | null): Job

  /**
   * Notes what is now so: the record, how far the job got, that its start was cut short by a stop in
   * order, and so does not count as a crash, the device that it backs up, or how it is going to end; with
   * an event that says so, if any.
   */
  update(
    jobId: string,
    change: {
      readonly record?: BackupRecord
      readonly highWaterBytes?: number
      readonly stoppedInOrder?: true
      readonly device?: BackupDevice
      readonly ending?: Ending
      readonly event?: Notification
    },
  ): void

  /**
   * Ends the job: outcome, record, final events and the answers to its callers, in one. The token and
   * the device are forgotten.
   */
  end(
    jobId: string,
    outcome: JobOutcome,
    record: BackupRecord,
    events: readonly Notification[],
  ): void

  /** Who waits for the end of a job. */
  callers(jobId: string): readonly ReplyAddress[]

  /** The record of a backup as its last job left it; null where this agent never had it. */
  record(backupId: string): BackupRecord | null

  /** The records that name something temporary of cinder-volume's. */
  leftovers(): readonly BackupRecord[]

  /** Notes that nothing temporary is left of a backup. */
  cleared(backupId: string): void

  /**
   * The next numbers for events of a run, from 1 on, never given twice, also over restarts. Numbers
   * may be left out.
   */
  nextSequence(jobId: string): number

  /** Forgets what ended more than seven days before `nowMs`. */
  forgetOld(nowMs: number): void
}

/** The messages that the journal's transactions left behind. */
export interface Outbox {
  /** The oldest events, at most `countMax`, in order. */
  events(countMax: number): readonly OutboxEntry[]
  eventSent(position: number): void
  replies(): readonly PendingReply[]
  replySent(position: number): void
  /** Calls `listener` whenever a transaction left something to send. */
  onEntry(listener: () => void): void
}
