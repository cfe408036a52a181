import type { Operation } from '../domain/job.ts'
import { isJsonObject, type JsonObject } from '../domain/json.ts'

/** What a notification means to somebody who waits for one operation on one backup. */
export type Heard =
  | { readonly kind: 'started'; readonly payload: JsonObject }
  | { readonly kind: 'progress'; readonly payload: JsonObject; readonly percent: number }
  | { readonly kind: 'ended'; readonly payload: JsonObject }
  | { readonly kind: 'failed'; readonly payload: JsonObject }

/** The part of a notification that concerns `operation` on `backupId`; null where it does not. */
export function heard(
  event: { readonly eventType: string; readonly payload: JsonObject },
  operation: Operation,
  backupId: string,
): Heard | null {
  const { eventType, payload } = event
  if (payload['backup_id'] !== backupId) return null
  if (eventType === `backup.${operation}.start`) return { kind: 'started', payload }
  if (eventType === `backup.${operation}.end`) return { kind: 'ended', payload }
  if (eventType === `backup.${operation}.error`) return { kind: 'failed', payload }
  if (eventType !== `backup.${operation}progress`) return null
  return { kind: 'progress', payload, percent: Number(payload['backup_percent'] ?? 0) }
}

/** Whether a cancelled create calls itself ended: then the backup is not there. */
export function isEndedWell({ kind, payload }: Heard, operation: Operation): boolean {
  if (kind !== 'ended') return false
  return operation !== 'create' || payload['status'] === 'available'
}

/** The record in an event, to be kept by whoever keeps records (decision D24). */
export function recordIn(payload: JsonObject): JsonObject | null {
  const record = payload['record']
  return isJsonObject(record) ? record : null
}
