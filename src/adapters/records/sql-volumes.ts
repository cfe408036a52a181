import type { Columns, Records } from '../../ports/records.ts'
import { attachmentOf, snapshotOf, temporaryNames, volumeOf } from './record-rows.ts'
import { changeRow, deleteMetadata, readMetadata, rowOf, writeMetadata } from './sql-rows.ts'
import type { Session, SqlSessions } from './sql-session.ts'

type VolumeRecords = Pick<
  Records,
  | 'volume'
  | 'changeVolume'
  | 'mergeVolumeMetadata'
  | 'replaceVolumeMetadata'
  | 'snapshot'
  | 'changeSnapshot'
  | 'strayTemporaries'
  | 'attachmentsOf'
>

export function sqlVolumes({ run, transact }: SqlSessions): VolumeRecords {
  return {
    volume: (id, signal) =>
      run(`read volume ${id}`, signal, async (session) => {
        const row = await rowOf(session, 'volumes', id)
        if (row === null) return null
        const metadata = await readMetadata(session, 'volume_metadata', [id])
        const glance = await readMetadata(session, 'volume_glance_metadata', [id])
        return volumeOf(row, metadata.get(id) ?? {}, glance.get(id) ?? {})
      }),

    changeVolume: (id, from, change, signal) =>
      run(`change volume ${id}`, signal, (session) =>
        changeRow(session, 'volumes', id, from, change),
      ),

    mergeVolumeMetadata: (id, metadata, signal) =>
      transact(`write the metadata of volume ${id}`, signal, async (session) => {
        if (!(await lockedVolume(session, id))) return
        await writeMetadata(session, 'volume_metadata', id, metadata, { replaces: false })
      }),

    replaceVolumeMetadata: (id, kind, metadata, signal) =>
      transact(`replace the ${kind} metadata of volume ${id}`, signal, async (session) => {
        if (!(await lockedVolume(session, id))) return
        const table = kind === 'volume' ? 'volume_metadata' : 'volume_glance_metadata'
        // Cinder updates the one row by row and makes the other anew. Source: db/sqlalchemy/api.py.
        if (kind === 'glance') await deleteMetadata(session, table, id)
        await writeMetadata(session, table, id, metadata, { replaces: true })
      }),

    snapshot: (id, signal) =>
      run(`read snapshot ${id}`, signal, async (session) => {
        const row = await rowOf(session, 'snapshots', id)
        return row === null ? null : snapshotOf(row)
      }),

    changeSnapshot: (id, from, status, signal) =>
      run(`change snapshot ${id}`, signal, (session) =>
        changeRow(session, 'snapshots', id, from, { status }),
      ),

    strayTemporaries: (volumeId, signal) =>
      run(`look for what is temporary of volume ${volumeId}`, signal, async (session) => {
        const volumes = await straysOf(session, 'volumes', volumeId)
        const snapshots = await straysOf(session, 'snapshots', volumeId)
        const isAny = volumes.length + snapshots.length > 0
        return {
          volumes: volumes.map((row) => volumeOf(row, {}, {})),
          snapshots: snapshots.map(snapshotOf),
          // Asked for last: whatever is found was made for a backup that there was by then.
          isInHand: isAny && (await isBackedUp(session, volumeId)),
        }
      }),

    attachmentsOf: (volumeId, host, signal) =>
      run(`read the attachments of volume ${volumeId}`, signal, async (session) => {
        const rows = await session.statements
          .selectFrom('volume_attachment')
          .selectAll()
          .where('volume_id', '=', volumeId)
          .where('attached_host', '=', host)
          .where('instance_uuid', 'is', null)
          .where('deleted', '=', false)
          .orderBy('id')
          .execute()
        return rows
          .map((row) => attachmentOf(session.columns.fromSql('volume_attachment', row)))
          .filter((row) => row.attached_host === host) // MySQL takes `Host` for `host`.
      }),
  }
}

/** No index leads to them, so they are looked for seldom. */
async function straysOf(
  { statements, columns }: Session,
  table: 'volumes' | 'snapshots',
  volumeId: string,
): Promise<readonly Columns[]> {
  const name = temporaryNames[table](volumeId)
  const found = await statements
    .selectFrom(table)
    .selectAll()
    .where('display_name', '=', name)
    .where('deleted', '=', false)
    .orderBy('id')
    .execute()
  const rows = found
    .map((row) => columns.fromSql(table, row))
    .filter((row) => row['display_name'] === name && row['use_quota'] === false)
  if (rows.length === 0) return []
  const column = table === 'volumes' ? 'temp_volume_id' : 'temp_snapshot_id'
  const named = await statements
    .selectFrom('backups')
    .select(column)
    .where(
      column,
      'in',
      rows.map(({ id }) => id),
    )
    .execute()
  const ids = new Set(named.map((row) => row[column]))
  return rows.filter(({ id }) => !ids.has(id))
}

async function isBackedUp({ statements }: Session, volumeId: string): Promise<boolean> {
  const row = await statements
    .selectFrom('backups')
    .select('id')
    .where('volume_id', '=', volumeId)
    .where('status', '=', 'creating')
    .where('deleted', '=', false)
    .limit(1)
    .executeTakeFirst()
  return row !== undefined
}

/** No two may write the metadata of a volume at once: its tables have no unique key. */
async function lockedVolume(session: Session, id: string): Promise<boolean> {
  return (await rowOf(session, 'volumes', id, { locked: true })) !== null
}
