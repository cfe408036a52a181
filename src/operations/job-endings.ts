import type { BackupRecord } from '../domain/backup-record.ts'
import { AgentError, failReason, toAgentError } from '../domain/errors.ts'
import type { Ending, Job } from '../domain/job.ts'
import type { Json, JsonObject } from '../domain/json.ts'
import { statusAfter } from '../domain/status.ts'
import type { Notification } from '../ports/rpc.ts'
import { errorEvent, jobEvent } from './job-events.ts'

/** A start of a job; what an earlier one left on the target of a restore is not known. */
export type Start = { readonly job: Job; readonly isFirst: boolean }

export function doneEnding(record: BackupRecord, extra: JsonObject = {}): Ending {
  return { outcome: { kind: 'done' }, record, kept: record, extra, error: null }
}

/** Decision D29: a cancelled create ends as in Cinder, a cancelled restore says what it left, and a delete that it was none. */
export function cancelledEnding(
  start: Start,
  before: BackupRecord,
  thrown: unknown,
  reason: unknown,
): Ending {
  const { job } = start
  const { operation } = job.request
  const record = { ...before, status: statusAfter(operation, 'cancelled') ?? before.status }
  const isRestore = operation === 'restore'
  const { code, message } = toAgentError(reason)
  return {
    outcome: { kind: 'cancelled' },
    record,
    kept: keptOf(job, record),
    extra: isRestore ? restoreRemains(thrown, start) : {},
    // What hears of the end of a delete takes it that the backup is gone.
    error: isRestore || operation === 'delete' ? { code, message } : null,
  }
}

export function failedEnding(start: Start, before: BackupRecord, error: AgentError): Ending {
  const { job } = start
  const { operation, was } = job.request
  const isRestore = operation === 'restore'
  // A failed restore says nothing against the backup. Source: cinder/backup/manager.py.
  const fail_reason =
    isRestore || operation === 'reset_status' ? before.fail_reason : failReason(error)
  const status = statusAfter(operation, 'failed') ?? before.status
  const isNowhere = isRestore && error.code === 'BACKUP_NOT_FOUND'
  const record =
    isRestore && hasFailed(was)
      ? { ...before, status: was.status, fail_reason: was.fail_reason }
      : { ...before, status, fail_reason }
  const { code, message } = error
  return {
    outcome: { kind: 'failed', code, message },
    record,
    // What was never here and is nowhere is not kept as if it were: its create may be on its way.
    kept: keptOf(job, isNowhere && was === null ? { ...record, status: 'error' } : record),
    extra: isRestore ? restoreRemains(error, start) : {},
    error: { code, message },
  }
}

/** The event that tells an ending, under the number that is given. */
export function finalEvent(
  job: Job,
  { record, extra, error }: Ending,
  sequence: number,
): Notification {
  return error === null
    ? jobEvent(job, 'end', record, sequence, extra)
    : errorEvent(job, record, sequence, new AgentError(error.code, error.message), extra)
}

/** Whether a backup was made, or deleted, in vain: a restore that fails makes it no better. */
function hasFailed(was: BackupRecord | null | undefined): was is BackupRecord {
  return was?.status === 'error' && was.fail_reason !== null
}

/** What the journal keeps of a backup: an import that failed is no word against one that was there. */
function keptOf({ request: { operation, was } }: Job, record: BackupRecord): BackupRecord {
  return operation === 'import' ? (was ?? record) : record
}

/** What a restore that did not end well has made of its target, as far as it is known. */
function restoreRemains(thrown: unknown, { isFirst }: Start): JsonObject {
  const context = thrown instanceof AgentError ? thrown.context : {}
  const extents = context['restoredExtents'] as Json | undefined
  if (extents === undefined && isFirst) return { target: 'untouched' }
  return {
    target: 'unusable',
    restored_extents: extents ?? [],
    restored_bytes_not_listed: (context['restoredBytesNotListed'] as Json | undefined) ?? 0,
  }
}
