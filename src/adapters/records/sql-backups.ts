import { sql } from 'kysely'

import type { BackupRecord, BackupStatus } from '../../domain/backup-record.ts'
import { recordTime } from '../../lib/time-text.ts'
import type { Records } from '../../ports/records.ts'
import { backupOf, columnsOf, deletion, type RecordTimes } from './record-rows.ts'
import { giveQuotaBack } from './sql-quota.ts'
import { changeRow, deleteMetadata, readMetadata, rowOf, writeMetadata } from './sql-rows.ts'
import type { Session, SqlSessions } from './sql-session.ts'

export type BackupRecords = Pick<
  Records,
  'backup' | 'backupsOf' | 'changeBackup' | 'deleteBackup' | 'finishBackup'
>

export function sqlBackups(sessions: SqlSessions, times: RecordTimes): BackupRecords {
  return {
    backup: (id, signal) =>
      sessions.run(`read backup ${id}`, signal, (session) => readBackup(session, id)),

    backupsOf: (host, statuses, signal) =>
      sessions.run(`read the backups of ${host}`, signal, (session) =>
        readBackupsOf(session, host, statuses),
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

    deleteBackup: (id, signal) =>
      sessions.transact(`delete backup ${id}`, signal, (session) =>
        deleteBackup(session, id, times),
      ),

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
  if (typeof parentId === 'string') await countDependent(session, parentId, 1)
  return true
}

async function deleteBackup(session: Session, id: string, times: RecordTimes): Promise<boolean> {
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
  if (backup.parent_id !== null) await countDependent(session, backup.parent_id, -1)
  await giveQuotaBack(session, backup, times)
  return true
}

/** In one statement, so that nobody's count is lost. Never below 0. Source: cinder/db/sqlalchemy/api.py. */
async function countDependent(
  { statements, columns }: Session,
  id: string,
  by: 1 | -1,
): Promise<void> {
  await statements
    .updateTable('backups')
    .set({
      ...columns.toSql('backups', { updated_at: recordTime() }),
      num_dependent_backups: sql`coalesce(num_dependent_backups, 0) + ${sql.lit(by)}`,
    })
    .where('id', '=', id)
    .where('deleted', '=', false)
    .$if(by < 0, (query) => query.where('num_dependent_backups', '>=', 1))
    .execute()
}
