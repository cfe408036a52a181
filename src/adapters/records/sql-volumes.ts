import type { Records } from '../../ports/records.ts'
import { attachmentOf, snapshotOf, volumeOf } from './record-rows.ts'
import { changeRow, deleteMetadata, readMetadata, rowOf, writeMetadata } from './sql-rows.ts'
import type { Session, SqlSessions } from './sql-session.ts'

type VolumeRecords = Pick<
  Records,
  | 'volume'
  | 'changeVolume'
  | 'mergeVolumeMetadata'
  | 'replaceVolumeMetadata'
  | 'volumeTypeExists'
  | 'snapshot'
  | 'changeSnapshot'
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

    volumeTypeExists: (id, signal) =>
      run(`look for volume type ${id}`, signal, async (session) => {
        return (await rowOf(session, 'volume_types', id)) !== null
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

/** No two may write the metadata of a volume at once: its tables have no unique key. */
async function lockedVolume(session: Session, id: string): Promise<boolean> {
  return (await rowOf(session, 'volumes', id, { locked: true })) !== null
}
