import { ancestorIds } from '../domain/backup-record.ts'
import type { Job } from '../domain/job.ts'

/** A job in hand, and the way to tell it that nobody wants it any more. */
export type InHand = { readonly job: Job; readonly cancel: AbortController }

/**
 * The jobs in hand, those that run included. Those of one backup run one after the other, in the
 * order of their acceptance, except restores onto two volumes. What a cancel is about goes before
 * others that wait.
 */
export type JobQueue<Entry extends InHand> = {
  readonly size: number
  add(entry: Entry): void
  /** To be called when it has ended. */
  remove(entry: Entry): void
  get(jobId: string): Entry | undefined
  ofBackup(backupId: string): readonly Entry[]
  /** The creates and restores, not cancelled, that read a backup as an ancestor, as they tell. */
  buildingOn(backupId: string): readonly Entry[]
  /** To be preferred while it waits: what was cancelled, what cancelled it, and a reset. */
  prefer(entry: Entry): void
  /** Takes the next that may start; without `hasPlace` only one that has nothing left to do. */
  start(hasPlace: boolean): Entry | null
  all(): Iterable<Entry>
}

export function jobQueue<Entry extends InHand>(): JobQueue<Entry> {
  const entries = new Map<string, Entry>()
  const byBackup = new Map<string, Set<Entry>>()
  const waiting = new Set<Entry>()
  const preferred = new Set<Entry>()

  function mayStart(entry: Entry): boolean {
    for (const other of byBackup.get(backupOf(entry)) ?? []) {
      if (other === entry) return true
      if ([entry, other].some(({ job }) => job.request.operation !== 'restore')) return false
    }
    return true
  }

  function findNext(hasPlace: boolean): Entry | null {
    for (const entry of preferred) {
      // What was cancelled has only to say so, and a reset only to set the status.
      const isBrief = entry.cancel.signal.aborted || isReset(entry)
      if ((hasPlace || isBrief) && mayStart(entry)) return entry
    }
    if (!hasPlace) return null
    for (const entry of waiting) if (mayStart(entry)) return entry
    return null
  }

  return {
    get size() {
      return entries.size
    },
    add(entry) {
      const id = backupOf(entry)
      entries.set(entry.job.id, entry)
      byBackup.set(id, (byBackup.get(id) ?? new Set()).add(entry))
      waiting.add(entry)
    },
    remove(entry) {
      const id = backupOf(entry)
      const others = byBackup.get(id)
      entries.delete(entry.job.id)
      others?.delete(entry)
      if (others?.size === 0) byBackup.delete(id)
    },
    get: (jobId) => entries.get(jobId),
    ofBackup: (backupId) => [...(byBackup.get(backupId) ?? [])],
    buildingOn: (backupId) =>
      [...entries.values()].filter(({ job: { request }, cancel }) => {
        const { operation } = request
        const isReading = operation === 'create' || operation === 'restore'
        if (!isReading || cancel.signal.aborted) return false
        return ancestorIds(request.backup).includes(backupId)
      }),
    prefer(entry) {
      if (waiting.has(entry)) preferred.add(entry)
    },
    start(hasPlace) {
      const entry = findNext(hasPlace)
      if (entry === null) return null
      waiting.delete(entry)
      preferred.delete(entry)
      return entry
    },
    all: () => entries.values(),
  }
}

function isReset({ job }: InHand): boolean {
  return job.request.operation === 'reset_status'
}

function backupOf({ job }: InHand): string {
  return job.request.backup.record.id
}
