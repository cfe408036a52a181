import { randomUUID } from 'node:crypto'

import { sql } from 'kysely'

import type { BackupRecord } from '../../domain/backup-record.ts'
import { recordTime } from '../../lib/time-text.ts'
import type { Columns } from '../../ports/records.ts'
import { quotaOf, type RecordTimes, reservationRow, usageRow } from './record-rows.ts'
import { insertRow, setById } from './sql-rows.ts'
import type { Session } from './sql-session.ts'

/**
 * What a deleted backup no longer takes of its project's quota. Cinder reserves first and commits when
 * the row has gone; we do both at once, and leave the same rows. Rows are locked in the order of their
 * ids, as Cinder does. Source: cinder/db/sqlalchemy/api.py, quota_reserve and reservation_commit.
 */
export async function giveQuotaBack(
  session: Session,
  backup: BackupRecord,
  times: RecordTimes,
): Promise<void> {
  const { project_id: projectId } = backup
  if (projectId === null) return
  const quota = quotaOf(backup)
  const names = quota.map(([resource]) => resource)
  const before = await lockedUsages(session, projectId, names)
  const missing = names.filter((name) => !before.some(({ resource }) => resource === name))
  // A new row counts what is there now, and that is without this backup.
  for (const resource of missing) await countUsage(session, projectId, resource)
  const usages = missing.length > 0 ? await lockedUsages(session, projectId, names) : before

  for (const [resource, amount] of quota) {
    const usage = usages.find((row) => row['resource'] === resource)
    if (usage === undefined) continue
    const delta = -amount || 0 // Not -0.
    if (!missing.includes(resource)) {
      await setById(session, 'quota_usages', usage['id'] ?? null, {
        updated_at: recordTime(),
        in_use: Math.max(0, Number(usage['in_use']) + delta),
      })
    }
    const id = usage['id'] ?? null
    await insertRow(
      session,
      'reservations',
      reservationRow(randomUUID(), id, projectId, resource, delta, times),
    )
  }
}

async function lockedUsages(
  { statements, columns }: Session,
  projectId: string,
  resources: readonly string[],
): Promise<readonly Columns[]> {
  const rows = await statements
    .selectFrom('quota_usages')
    .selectAll()
    .where('project_id', '=', projectId)
    .where('resource', 'in', resources)
    .where('deleted', '=', false)
    .orderBy('id')
    .forUpdate()
    .execute()
  return rows.map((row) => columns.fromSql('quota_usages', row))
}

async function countUsage(session: Session, projectId: string, resource: string): Promise<void> {
  const counted = await session.statements
    .selectFrom('backups')
    .select(resource === 'backups' ? sql`count(*)`.as('n') : sql`coalesce(sum(size), 0)`.as('n'))
    .where('project_id', '=', projectId)
    .where('deleted', '=', false)
    .executeTakeFirstOrThrow()
  await insertRow(session, 'quota_usages', usageRow(projectId, resource, Number(counted.n)))
}
