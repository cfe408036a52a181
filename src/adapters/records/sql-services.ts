import { randomUUID } from 'node:crypto'

import { sql } from 'kysely'

import { recordTime } from '../../lib/time-text.ts'
import type { Columns, Records } from '../../ports/records.ts'
import {
  backupBinary,
  messageRow,
  type RecordTimes,
  serviceChange,
  serviceRow,
  versionPinOf,
} from './record-rows.ts'
import { insertRow, rowOf, setById } from './sql-rows.ts'
import type { Session, SqlSessions } from './sql-session.ts'

type ServiceRecords = Pick<
  Records,
  'addMessage' | 'reportService' | 'heartbeat' | 'lastHeartbeat' | 'versionPin'
>

export function sqlServices(
  { run, transact }: SqlSessions,
  beats: Pick<SqlSessions, 'run'>,
  times: RecordTimes,
): ServiceRecords {
  return {
    addMessage: (message, signal) => {
      const id = randomUUID() // One for all tries.
      return run(`add a message on ${message.resourceId}`, signal, async (session) => {
        if (session.isRepeated && (await rowOf(session, 'messages', id)) !== null) return
        await insertRow(session, 'messages', messageRow(id, message, times))
      })
    },

    reportService: (service, signal) => {
      const uuid = randomUUID()
      return transact(`write the services row of ${service.host}`, signal, async (session) => {
        const row = await ourRow(session, service.host)
        if (row === null) {
          await insertRow(session, 'services', serviceRow(uuid, service))
          return { disabled: service.disabled }
        }
        await setById(session, 'services', row['id'] ?? null, {
          ...serviceChange(service),
          ...(row['uuid'] === null ? { uuid } : {}),
          updated_at: recordTime(),
        })
        return { disabled: row['disabled'] === true }
      })
    },

    heartbeat: (host, signal) =>
      beats.run(`write the heartbeat of ${host}`, signal, async (session) => {
        const row = await ourRow(session, host)
        if (row === null) return null
        const { statements, columns } = session
        const { numUpdatedRows } = await statements
          .updateTable('services')
          .set({
            ...columns.toSql('services', { updated_at: recordTime() }),
            report_count: sql`report_count + 1`,
          })
          .where('id', '=', row['id'])
          .where('deleted', '=', false)
          .executeTakeFirstOrThrow()
        return numUpdatedRows > 0n ? { disabled: row['disabled'] === true } : null
      }),

    lastHeartbeat: (binary, host, signal) =>
      run(`read the heartbeat of ${host}`, signal, async (session) => {
        const row = (await servicesOf(session, binary)).find((one) => one['host'] === host)
        const { updated_at: at = null } = row ?? {}
        return at === null ? null : String(at)
      }),

    versionPin: (binary, signal) =>
      run(`read the versions of ${binary}`, signal, async (session) => {
        return versionPinOf(await servicesOf(session, binary))
      }),
  }
}

/** The rows of a binary's services, the deleted left out. */
export async function servicesOf(
  { statements, columns }: Session,
  binary: string,
): Promise<readonly Columns[]> {
  const rows = await statements
    .selectFrom('services')
    .selectAll()
    .where('binary', '=', binary)
    .where('deleted', '=', false)
    .orderBy('id')
    .execute()
  return rows.map((row) => columns.fromSql('services', row))
}

/** By its exact name: MySQL takes `Host` for `host`. */
async function ourRow(session: Session, host: string): Promise<Columns | null> {
  const services = await servicesOf(session, backupBinary)
  return services.find((row) => row['host'] === host) ?? null
}
