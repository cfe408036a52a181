import type { Operation } from '../domain/job.ts'
import { isJsonObject, type Json, type JsonObject } from '../domain/json.ts'

/** What a notification means to somebody who waits for one operation on one backup. */
export type Heard = {
  readonly kind: 'started' | 'progress' | 'waiting' | 'ended' | 'failed'
  readonly eventType: string
  readonly payload: JsonObject
}

/** What is waited for: of a restore, the one onto this volume; once it began, of that run. */
export type Followed = {
  readonly operation: Operation
  readonly backupId: string
  readonly targetVolumeId: string | null
  readonly run: Json
}

/** The part of a notification that concerns what is followed; null where it does not. */
export function heard(
  { eventType, payload }: { readonly eventType: string; readonly payload: JsonObject },
  { operation, backupId, targetVolumeId, run }: Followed,
): Heard | null {
  if (payload['backup_id'] !== backupId) return null
  if (targetVolumeId !== null) {
    const target = recordIn(payload)?.['restore_volume_id'] ?? targetVolumeId
    if (target !== targetVolumeId) return null
  }
  if (run !== null && payload['run'] !== run) return null
  const kinds: Readonly<Record<string, Heard['kind']>> = {
    [`backup.${operation}.start`]: 'started',
    [`backup.${operation}progress`]: 'progress',
    [`backup.${operation}.waiting`]: 'waiting',
    [`backup.${operation}.end`]: 'ended',
    [`backup.${operation}.error`]: 'failed',
  }
  const kind = kinds[eventType]
  return kind === undefined ? null : { kind, eventType, payload }
}

/** Whether a cancelled create calls itself ended: then the backup is not there. */
export function isEndedWell({ kind, payload }: Heard, operation: Operation): boolean {
  if (kind !== 'ended') return false
  return (operation !== 'create' && operation !== 'import') || payload['status'] === 'available'
}

/** The record in an event, to be kept by whoever keeps records (decision D24). */
export function recordIn(payload: JsonObject): JsonObject | null {
  const record = payload['record']
  return isJsonObject(record) ? record : null
}
