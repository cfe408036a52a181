import { hash } from 'node:crypto'

import type { RestoreLink } from '../domain/restore-plan.ts'
import type { SpoolFile } from '../ports/spool.ts'
import { openRecordLog } from './record-log.ts'

// The steps of a restore that were done, by their place in its plan: what a restore that was cut short
// goes on from. A step counts while the host runs as it is in memory of the kernel, and after a restart
// of the host only if it was synced.

export interface RestoreLog {
  isDone(step: number): boolean
  /** Notes that a step's bytes, so many of the volume, were written. */
  add(step: number, lengthBytes: number): Promise<void>
  /** The volume's bytes in steps that are done. */
  doneBytes(): number
  /** How many steps were added by now; of a sync that begins now, those are its. */
  count(): number
  /** Notes that the first `count` steps that were added are on stable storage. */
  synced(count: number): Promise<void>
}

export type RestoreTarget = {
  /** Tells one volume from another. */
  readonly identity: string
  /** While it is the same, what was written is there, synced or not. */
  readonly epoch: string
}

const syncMark = 0xffff_ffff

/** Opens the log; of a restore of other backups, or onto another volume, nothing counts. */
export async function openRestoreLog(
  file: SpoolFile,
  links: readonly RestoreLink[],
  { identity, epoch }: RestoreTarget,
): Promise<RestoreLog> {
  const records = await openRecordLog(file)
  const done = stepSet()
  const chain = links.map(({ backupId, container, endBytes }) => [backupId, container, endBytes])
  const work = hash('sha256', JSON.stringify([chain, identity]))
  const header = JSON.stringify({ work, epoch })
  const before = headerOf(records.header)
  let count = 0
  let doneBytes = 0
  if (before?.work === work) {
    const steps: Step[] = []
    let syncedCount = 0
    for await (const record of records.read()) {
      if (record.readUInt32LE(0) === syncMark) syncedCount = record.readUInt32LE(4)
      else steps.push(unpackStep(record))
    }
    const trusted = before.epoch === epoch ? steps : steps.slice(0, syncedCount)
    for (const { step, lengthBytes } of trusted) {
      done.add(step)
      doneBytes += lengthBytes
    }
    count = steps.length
  }
  if (records.header !== header) {
    await records.restart(header)
    count = 0
    for (const step of done.all()) {
      // The first stands for the bytes of all: they are trusted together, or not at all.
      await records.append(packStep({ step, lengthBytes: count === 0 ? doneBytes : 0 }))
      count += 1
    }
    await records.append(packSyncMark(count))
  }
  return {
    isDone: done.has,
    async add(step, lengthBytes) {
      await records.append(packStep({ step, lengthBytes }))
      done.add(step)
      doneBytes += lengthBytes
      count += 1
    },
    count: () => count,
    doneBytes: () => doneBytes,
    synced: (syncedCount) => records.append(packSyncMark(syncedCount)),
  }
}

function headerOf(text: string | null): { work?: unknown; epoch?: unknown } | null {
  try {
    return JSON.parse(text ?? 'null')
  } catch {
    return null
  }
}

type Step = { readonly step: number; readonly lengthBytes: number }

const stepBytes = 12

function packStep({ step, lengthBytes }: Step): Buffer {
  const record = Buffer.allocUnsafe(stepBytes)
  record.writeUInt32LE(step, 0)
  record.writeDoubleLE(lengthBytes, 4)
  return record
}

/** A log of the first release has the step's number alone. */
function unpackStep(record: Buffer): Step {
  const step = record.readUInt32LE(0)
  return { step, lengthBytes: record.byteLength < stepBytes ? 0 : record.readDoubleLE(4) }
}

function packSyncMark(count: number): Buffer {
  const record = Buffer.allocUnsafe(8)
  record.writeUInt32LE(syncMark, 0)
  record.writeUInt32LE(count, 4)
  return record
}

/** Numbers from 0 on, a bit each. */
function stepSet() {
  let bits = new Uint8Array(1024)
  const has = (step: number) => ((bits[step >>> 3] ?? 0) & (1 << (step & 7))) !== 0
  return {
    has,
    add(step: number): void {
      if (has(step)) return
      if (step >>> 3 >= bits.length) {
        const more = new Uint8Array(Math.max(2 * bits.length, (step >>> 3) + 1))
        more.set(bits)
        bits = more
      }
      bits[step >>> 3] = (bits[step >>> 3] ?? 0) | (1 << (step & 7))
    },
    *all(): Generator<number, void, undefined> {
      for (let step = 0; step < bits.length * 8; step += 1) if (has(step)) yield step
    },
  }
}
