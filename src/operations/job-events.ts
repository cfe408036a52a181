import { randomUUID } from 'node:crypto'

import type { BackupRecord } from '../domain/backup-record.ts'
import type { AgentError } from '../domain/errors.ts'
import type { Job, Operation } from '../domain/job.ts'
import type { JsonObject } from '../domain/json.ts'
import { type RequestContext, redactContext } from '../domain/request-context.ts'
import { usagePayload } from '../domain/usage-payload.ts'
import { osloTimestamp } from '../lib/time-text.ts'
import type { Notification } from '../ports/rpc.ts'

type Place = { readonly run: string; readonly sequence: number }

/** `backup.<operation>.start` and `.end`: Cinder's payload, and what decision D24 adds. */
export function jobEvent(
  job: Job,
  suffix: 'start' | 'end',
  record: BackupRecord,
  sequence: number,
  extra: JsonObject = {},
): Notification {
  const type = `backup.${job.request.operation}.${suffix}`
  const place = { run: job.run, sequence }
  return notification(type, 'INFO', payloadOf(record, place, extra), job.context)
}

/** `backup.<operation>.error`, which Cinder does not have (decision D13). */
export function errorEvent(
  job: Job,
  record: BackupRecord,
  sequence: number,
  error: AgentError,
  extra: JsonObject = {},
): Notification {
  const type = `backup.${job.request.operation}.error`
  const payload = payloadOf(record, { run: job.run, sequence }, { ...errorKeys(error), ...extra })
  return notification(type, 'ERROR', payload, job.context)
}

/** `backup.<operation>.waiting`, which Cinder does not have: the job goes on when it is asked for once more. */
export function waitingEvent(
  job: Job,
  record: BackupRecord,
  sequence: number,
  error: AgentError,
  secondsMax: number,
): Notification {
  const type = `backup.${job.request.operation}.waiting`
  const extra = { ...errorKeys(error), waits_for: 'auth', seconds_max: secondsMax }
  const payload = payloadOf(record, { run: job.run, sequence }, extra)
  return notification(type, 'INFO', payload, job.context)
}

/** The `.error` of a request that was refused before it became a job. */
export function refusalEvent(
  operation: Operation,
  record: BackupRecord,
  context: RequestContext,
  error: AgentError,
): Notification {
  const place = { run: randomUUID(), sequence: 1 }
  const payload = payloadOf(record, place, errorKeys(error))
  return notification(`backup.${operation}.error`, 'ERROR', payload, context)
}

function errorKeys(error: AgentError): JsonObject {
  return { code: error.code, message: error.message, detail: error.detail }
}

function payloadOf(record: BackupRecord, { run, sequence }: Place, extra: JsonObject): JsonObject {
  return { ...usagePayload(record), record, run, sequence, ...extra }
}

function notification(
  eventType: string,
  priority: 'INFO' | 'ERROR',
  payload: JsonObject,
  context: RequestContext,
): Notification {
  const timestamp = osloTimestamp()
  return {
    messageId: randomUUID(),
    uniqueId: randomUUID().replaceAll('-', ''),
    eventType,
    priority,
    payload,
    timestamp,
    context: redactContext(context, timestamp.replace(' ', 'T')),
  }
}

export type Progress = {
  readonly bytesDone: number
  readonly bytesTotal: number
  readonly bytesPerSecond: number
  /** Chunks in the store so far. */
  readonly chunkCount: number
}

/** The most that a progress message may weigh on the bus (decision D12). */
const progressBytesMax = 2048

/**
 * `backup.createprogress` or `backup.restoreprogress`. The context is cut to who asked, and names where
 * they would make the message heavier than 2 KiB: progress is sent often and may be lost.
 */
export function progressEvent(
  job: Job,
  record: BackupRecord,
  sequence: number,
  progress: Progress,
): Notification {
  const { bytesDone, bytesTotal, bytesPerSecond, chunkCount } = progress
  const { operation } = job.request
  const type = `backup.${operation}progress`
  const payload = {
    ...usagePayload(record),
    ...(operation === 'create' ? createKeys(record, chunkCount) : {}),
    backup_percent: percentOf(bytesDone, bytesTotal),
    bytes_done: bytesDone,
    bytes_total: bytesTotal,
    bytes_per_second: Math.round(bytesPerSecond),
    seconds_left: bytesPerSecond > 0 ? Math.ceil((bytesTotal - bytesDone) / bytesPerSecond) : null,
    run: job.run,
    sequence,
  }
  const full = notification(type, 'INFO', payload, job.context)
  const light = { ...full, context: lightContext(full.context) }
  if (weightBytes(light) <= progressBytesMax) return light
  const nameless = { ...payload, display_name: null, fail_reason: null, availability_zone: null }
  return { ...light, payload: nameless }
}

/**
 * What else Cinder tells of a backup in the making, but for `list`, which names every object so far.
 * Source: cinder/backup/chunkeddriver.py, `_send_progress_notification` with `object_meta`.
 */
function createKeys({ service_metadata: prefix }: BackupRecord, chunkCount: number): JsonObject {
  return { id: chunkCount + 1, prefix, volume_meta: null }
}

/** 0 to 100 with two digits; 100 only when all is done. */
function percentOf(bytesDone: number, bytesTotal: number): number {
  if (bytesDone >= bytesTotal) return 100
  return Math.min(99.99, Math.round((bytesDone / bytesTotal) * 10_000) / 100)
}

function lightContext(context: JsonObject): JsonObject {
  const { request_id, user_id, project_id, is_admin, read_deleted } = context
  const auth = { auth_token: null, service_catalog: [] }
  return Object.fromEntries(
    Object.entries({ request_id, user_id, project_id, is_admin, read_deleted, ...auth }).filter(
      (entry): entry is [string, NonNullable<(typeof entry)[1]> | null] => entry[1] !== undefined,
    ),
  )
}

/** What the notification weighs enveloped, keys and quotes of the wire included (generously). */
function weightBytes(event: Notification): number {
  return Buffer.byteLength(JSON.stringify(JSON.stringify(event))) + 200
}
