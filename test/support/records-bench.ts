import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import path from 'node:path'

import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { Json } from '#src/domain/json.ts'
import { wallClockMs } from '#src/lib/clock.ts'
import type { Columns, Records } from '#src/ports/records.ts'
import { checkout } from './services.ts'

/** A database that the test may fill and look at; times are ISO 8601, booleans true or false. */
export type RecordsBench = {
  open(): Promise<Records>
  insert(table: string, row: Columns): Promise<void>
  rows(table: string): Promise<readonly Columns[]>
}

export const { signal } = new AbortController()
export const madeAt = '2026-11-22T10:11:12Z'

type BackupFields = Partial<Omit<BackupRecord, 'project_id'>> & { readonly project_id?: string }

export function newBackup(fields: BackupFields = {}) {
  return {
    id: randomUUID(),
    volume_id: randomUUID(),
    user_id: 'a-user',
    project_id: randomUUID(),
    host: 'storage1',
    availability_zone: 'nova',
    display_name: 'nightly',
    status: 'creating',
    size: 3,
    data_timestamp: madeAt,
    created_at: madeAt,
    deleted: false,
    ...fields,
  } satisfies Partial<BackupRecord> & Columns
}

export function newVolume(fields: Columns = {}) {
  return {
    id: randomUUID(),
    project_id: 'a-project',
    host: 'storage1@lvm#pool',
    size: 3,
    status: 'backing-up',
    previous_status: 'in-use',
    volume_type_id: randomUUID(),
    bootable: false,
    multiattach: true,
    use_quota: true,
    created_at: madeAt,
    deleted: false,
    ...fields,
  }
}

export function assertRecent(value: Json | undefined): void {
  const age = wallClockMs() - Date.parse(String(value))
  assert.ok(age > -2000 && age < 60_000, `${value} is not now`)
}

type RecordedRow = {
  readonly table: string
  readonly changed?: Readonly<Record<string, readonly Json[]>>
  readonly inserted?: Columns
}

/** What Cinder changed in a step of the recorded session. */
export function recordedRows(step: string): readonly RecordedRow[] {
  const file = path.join(checkout, 'test/samples/cinder-rows', `${step}.json`)
  return JSON.parse(readFileSync(file, 'utf8'))
}

export async function addUsage(bench: RecordsBench, projectId: string, fields: Columns) {
  await bench.insert('quota_usages', {
    project_id: projectId,
    reserved: 0,
    race_preventer: true,
    deleted: false,
    created_at: madeAt,
    ...fields,
  })
}

/** What is in use, by resource. */
export const usagesOf = async (bench: RecordsBench, projectId: string) =>
  Object.fromEntries(
    (await bench.rows('quota_usages'))
      .filter((row) => row['project_id'] === projectId)
      .map((row) => [row['resource'], row['in_use']]),
  )
