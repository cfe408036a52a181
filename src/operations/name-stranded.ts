import { type BackupRecord, importVolumeId } from '../domain/backup-record.ts'
import { wallClockMs } from '../lib/clock.ts'
import { recordTimeIn } from '../lib/time-text.ts'
import type { Log } from '../ports/log.ts'
import type { Records } from '../ports/records.ts'

type Deps = {
  readonly records: Pick<Records, 'strandedBackups'>
  readonly host: string
  /** Ends a create that has no host. */
  readonly end: (row: BackupRecord, signal: AbortSignal) => Promise<void>
  /** After how long that is done: none is still on its way then. */
  readonly endMs: number
  /** Ends what a host had in hand of which nothing was heard for `goneMs`. */
  readonly endGone: (row: BackupRecord, signal: AbortSignal) => Promise<void>
  /** Infinite: never. */
  readonly goneMs: number
  readonly log: Log
}

/** A service that is only restarted is back by then, and a message that waits is taken. */
const silentSeconds = 600

/**
 * Names what stays in the making for good, for no start sees the rows of another host: a request that was
 * lost before any agent had it, and what is of a host that was renamed or is gone. That host may come back and
 * go on with its work, so that nothing of it is changed before it is silent for very long; what has no host is
 * ended after a while. Each is told of once in the life of the agent.
 */
export function strandedNames({ records, host, end, endMs, endGone, goneMs, log }: Deps): {
  look(signal: AbortSignal): Promise<void>
} {
  let told: ReadonlySet<string> = new Set()
  let goneBefore: ReadonlySet<string> = new Set()

  async function goneOf(
    rows: readonly BackupRecord[],
    signal: AbortSignal,
  ): Promise<ReadonlySet<string>> {
    const isAnyOfHost = rows.some((row) => row.host !== null)
    if (!isAnyOfHost || !Number.isFinite(goneMs)) return new Set()
    const gone = await records.strandedBackups(host, recordTimeIn(-goneMs / 1000), signal)
    return new Set(gone.filter((row) => row.host !== null).map(nameOf))
  }

  return {
    async look(signal) {
      const wasGone = goneBefore
      goneBefore = new Set() // Where this look fails, the next is the first.
      const rows = await records.strandedBackups(host, recordTimeIn(-silentSeconds), signal)
      const gone = await goneOf(rows, signal)
      // After an outage of the database every host has been silent: it has until the next look to be heard.
      const isGone = (row: BackupRecord) => gone.has(nameOf(row)) && wasGone.has(nameOf(row))
      for (const row of rows) {
        const ending = isLost(row, row.volume_id === importVolumeId ? goneMs : endMs)
          ? end
          : isGone(row)
            ? endGone
            : null
        if (ending !== null) {
          // Those before it may have taken long, and the host may be back.
          if (ending === end || (await goneOf([row], signal)).has(nameOf(row))) {
            await ending(row, signal)
          }
          continue
        }
        if (told.has(nameOf(row))) continue
        log.warn('nobody works on a backup that is in the making', {
          ...{ backup_id: row.id, volume_id: row.volume_id, status: row.status },
          ...{ of_host: row.host, do: whatToDo(row) },
        })
      }
      told = new Set(rows.map(nameOf))
      goneBefore = gone
    },
  }
}

/** The row of a deleted backup that is imported was created long ago, and has only been changed. */
function isLost(row: BackupRecord, endMs: number): boolean {
  const { host, status, created_at: createdAt, updated_at: updatedAt } = row
  const ageMs = wallClockMs() - Date.parse(updatedAt ?? createdAt ?? '')
  return host === null && status === 'creating' && ageMs >= endMs
}

function nameOf({ id, status, host }: BackupRecord): string {
  return `${id} ${status} ${host}`
}

/** What ends it, and gives the volume back, which nobody else does then. */
function whatToDo(row: BackupRecord): string {
  const { id, status, host, service, volume_id: volumeId, restore_volume_id: targetId } = row
  const free = (volume: string) => `openstack volume set --state available ${volume}`
  const reset = (to: string) => `openstack volume backup set --state ${to} ${id}`
  const remove = `openstack volume backup delete --force ${id}`
  // A status is reset only of what a service has begun. Source: cinder/backup/manager.py, `reset_status`.
  const ends = {
    creating: `${service === null ? remove : reset('error')}; ${free(volumeId)}`,
    restoring: `${reset('available')}; ${free(targetId ?? 'VOLUME')}`,
    deleting: service === null ? remove : reset('error'),
  }[String(status)]
  if (host === null) return ends ?? remove
  return `start cinder-backup-agent with host = ${host}, which goes on with it; or, where that host is gone: ${ends}`
}
