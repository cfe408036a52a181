import { sql } from 'kysely'

import type { BackupRecord, BackupStatus } from '../../domain/backup-record.ts'
import { hasCode } from '../../domain/errors.ts'
import { recordTime } from '../../lib/time-text.ts'
import type { Log } from '../../ports/log.ts'
import type { Records } from '../../ports/records.ts'
import {
  backupBinary,
  backupOf,
  columnsOf,
  countedStatuses,
  deletion,
  inTheMaking,
  isRestoring,
  type RecordTimes,
  strandedAmong,
} from './record-rows.ts'
import { giveQuotaBack } from './sql-quota.ts'
import { changeRow, deleteMetadata, readMetadata, rowOf, writeMetadata } from './sql-rows.ts'
import { servicesOf } from './sql-services.ts'
import type { Session, SqlSessions } from './sql-session.ts'

export type BackupRecords = Pick<
  Records,
  | 'backup'
  | 'backupsOf'
  | 'isHeldByLater'
  | 'isRestoredFromOther'
  | 'strandedBackups'
  | 'changeBackup'
  | 'deleteBackup'
  | 'finishBackup'
>

export function sqlBackups(sessions: SqlSessions, times: RecordTimes, log: Log): BackupRecords {
  /** The quota alone must not keep a backup whose objects are gone. Source: cinder/backup/manager.py, `delete_backup`. */
  const deleteWhole = async (id: string, signal: AbortSignal): Promise<boolean> => {
    const what = `delete backup ${id}`
    let isInQuota = false
    try {
      return await sessions.transact(what, signal, async (session) => {
        isInQuota = false
        const backup = await deleteBackup(session, id)
        if (typeof backup === 'boolean') return backup
        isInQuota = true
        await giveQuotaBack(session, backup, times)
        return true
      })
    } catch (error) {
      if (!isInQuota || !hasCode(error, 'RECORDS_REFUSED')) throw error
      log.error('a backup is deleted, but its quota is not given back', { backup_id: id, error })
      return sessions.transact(what, signal, async (session) => {
        return (await deleteBackup(session, id)) !== false
      })
    }
  }

  return {
    backup: (id, signal) =>
      sessions.run(`read backup ${id}`, signal, (session) => readBackup(session, id)),

    backupsOf: (host, statuses, signal) =>
      sessions.run(`read the backups of ${host}`, signal, (session) =>
        readBackupsOf(session, host, statuses),
      ),

    isHeldByLater: (backup, signal) =>
      sessions.run(`look who has volume ${backup.volume_id}`, signal, (session) =>
        isHeldByLater(session, backup),
      ),

    isRestoredFromOther: (volumeId, backupId, signal) =>
      sessions.run(`look what is restored onto volume ${volumeId}`, signal, (session) =>
        isRestoredFromOther(session, volumeId, backupId),
      ),

    strandedBackups: (host, since, signal) =>
      sessions.run('look for backups that nobody works on', signal, (session) =>
        readStranded(session, host, since),
      ),

    changeBackup: (id, from, change, signal) => {
      const what = `change backup ${id}`
      if (change.metadata === undefined) {
        return sessions.run(what, signal, (session) => {
          return changeRow(session, 'backups', id, from, columnsOf(change))
        })
      }
      return sessions.transact(what, signal, (session) => changeWhole(session, id, from, change))
    },

    deleteBackup: deleteWhole,

    finishBackup: (id, from, change, signal) =>
      sessions.transact(`finish backup ${id}`, signal, (session) =>
        finishBackup(session, id, from, change),
      ),
  }
}

async function readBackup(session: Session, id: string): Promise<BackupRecord | null> {
  const row = await rowOf(session, 'backups', id, { withDeleted: true })
  if (row === null) return null
  const metadata = await readMetadata(session, 'backup_metadata', [id])
  return backupOf(row, metadata.get(id) ?? {})
}

async function readBackupsOf(
  session: Session,
  host: string,
  statuses: readonly BackupStatus[],
): Promise<readonly BackupRecord[]> {
  const { statements, columns } = session
  const rows = await statements
    .selectFrom('backups')
    .selectAll()
    .where('host', '=', host)
    .where('deleted', '=', false)
    .$if(statuses.length > 0, (query) =>
      query.where(({ eb, or }) =>
        or([eb('status', 'is', null), eb('status', 'not in', [...statuses])]),
      ),
    )
    .orderBy('created_at')
    .orderBy('id')
    .execute()
  const backups = rows
    .map((row) => columns.fromSql('backups', row))
    .filter((row) => row['host'] === host) // MySQL takes `Host` for `host`.
  const ids = backups.map(({ id }) => String(id))
  const metadata = await readMetadata(session, 'backup_metadata', ids)
  return backups.map((row) => backupOf(row, metadata.get(String(row['id'])) ?? {}))
}

async function isHeldByLater(
  { statements, columns }: Session,
  { id, volume_id, snapshot_id, created_at }: BackupRecord,
): Promise<boolean> {
  const { created_at: since } = columns.toSql('backups', { created_at })
  const later = await statements
    .selectFrom('backups')
    .select('id')
    .where('volume_id', '=', volume_id)
    .where('snapshot_id', snapshot_id === null ? 'is' : '=', snapshot_id)
    .where('status', '=', 'creating')
    .where('deleted', '=', false)
    .where('created_at', '>', since)
    .where('id', '!=', id)
    .limit(1)
    .executeTakeFirst()
  return later !== undefined
}

async function isRestoredFromOther(
  { statements }: Session,
  volumeId: string,
  backupId: string,
): Promise<boolean> {
  const rows = await statements
    .selectFrom('backups')
    .select(['id', 'restore_volume_id'])
    .where('status', '=', 'restoring')
    .where('deleted', '=', false)
    .execute()
  return rows.some(isRestoring(volumeId, backupId))
}

async function readStranded(
  session: Session,
  host: string,
  since: string,
): Promise<readonly BackupRecord[]> {
  const { statements, columns } = session
  const rows = await statements
    .selectFrom('backups')
    .selectAll()
    .where('status', 'in', [...inTheMaking])
    .where('deleted', '=', false)
    .orderBy('created_at')
    .execute()
  if (rows.length === 0) return []
  // Hosts and times are compared here: MySQL takes `Host` for `host`.
  const isStranded = strandedAmong(await servicesOf(session, backupBinary), host, since)
  return rows
    .map((row) => columns.fromSql('backups', row))
    .filter(isStranded)
    .map((row) => backupOf(row, {}))
}

async function changeWhole(
  session: Session,
  id: string,
  from: readonly (BackupStatus | null)[] | null,
  change: Partial<BackupRecord>,
): Promise<boolean> {
  if (!(await changeRow(session, 'backups', id, from, columnsOf(change)))) return false
  const { metadata } = change
  if (metadata === undefined) return true
  await writeMetadata(session, 'backup_metadata', id, metadata, { replaces: true })
  return true
}

async function finishBackup(
  session: Session,
  id: string,
  from: readonly (BackupStatus | null)[],
  change: Partial<BackupRecord>,
): Promise<boolean> {
  // The lock first: whether an earlier try of ours did it must be known before the counter moves.
  const before = await rowOf(session, 'backups', id, { locked: true })
  const isOpen = before !== null && from.includes(before['status'] as BackupStatus | null)
  if (!isOpen) return changeWhole(session, id, from, change)
  if (!(await changeWhole(session, id, from, change))) return false
  const parentId = change.parent_id ?? before['parent_id']
  if (typeof parentId === 'string') await countDependent(session, parentId)
  return true
}

/** Resolves to what was deleted; true where an earlier try did it all, false where it was somebody else. */
async function deleteBackup(session: Session, id: string): Promise<BackupRecord | boolean> {
  const { statements, columns } = session
  const row = await rowOf(session, 'backups', id, { withDeleted: true, locked: true })
  if (row === null) return false
  // With the silence of an earlier try in between, it was that one.
  if (row['deleted'] === true) return session.isRepeated
  await statements
    .updateTable('backups')
    .set(columns.toSql('backups', { ...deletion(), status: 'deleted' }))
    .where('id', '=', id)
    .execute()
  await deleteMetadata(session, 'backup_metadata', id)
  const backup = backupOf(row, {})
  if (backup.parent_id !== null) await uncountDependent(session, backup.parent_id)
  return backup
}

/** In one statement, so that nobody's count is lost. Source: cinder/db/sqlalchemy/api.py. */
async function countDependent({ statements, columns }: Session, id: string): Promise<void> {
  await statements
    .updateTable('backups')
    .set({
      ...columns.toSql('backups', { updated_at: recordTime() }),
      num_dependent_backups: sql`coalesce(num_dependent_backups, 0) + 1`,
    })
    .where('id', '=', id)
    .where('deleted', '=', false)
    .execute()
}

/**
 * Never below what is left and was counted for certain: a child that failed, or was deleted while it was
 * made, was not. Cinder takes it off all the same, and never below 0.
 */
async function uncountDependent(session: Session, id: string): Promise<void> {
  const { statements, columns } = session
  // The lock first: others that go at once must not be counted as staying.
  if ((await rowOf(session, 'backups', id, { locked: true })) === null) return
  const { n } = await statements
    .selectFrom('backups')
    .select(sql`count(*)`.as('n'))
    .where('parent_id', '=', id)
    .where('deleted', '=', false)
    .where('status', 'in', countedStatuses)
    .executeTakeFirstOrThrow()
  await statements
    .updateTable('backups')
    .set({
      ...columns.toSql('backups', { updated_at: recordTime() }),
      num_dependent_backups: sql`num_dependent_backups - 1`,
    })
    .where('id', '=', id)
    .where('num_dependent_backups', '>', Number(n))
    .execute()
}
