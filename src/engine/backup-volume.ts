import type { BackupPlan } from '../domain/backup-plan.ts'
import { digestBytes } from '../domain/extents.ts'
import type { WindowTask } from '../domain/lane-tasks.ts'
import { mapOrdered } from '../lib/map-ordered.ts'
import type { LaneUse } from '../ports/lanes.ts'
import type { SpoolFile } from '../ports/spool.ts'
import type { WindowLog } from './window-log.ts'

/** What a backup is made from and with. */
export type BackupWork = {
  readonly plan: BackupPlan
  readonly lanes: LaneUse
  /** The parent's packed digests, in order; null for a full backup. A volume of 1 TiB has 33 million. */
  readonly parentDigests: SpoolFile | null
  /** Takes what is done, and knows what was done before. */
  readonly log: WindowLog
  /** The highest chunk number that an earlier start may have used. */
  readonly lastNumber: number
}

/** Everything of the volume before `endBytes` is stored, and noted in the log. */
export type BackupProgress = { readonly endBytes: number; readonly chunkCount: number }

/** Windows that are handed to the lanes ahead of those that have them. */
const windowsAhead = 32

/**
 * Uploads the windows of the volume that the log does not have, and of an incremental what the parent
 * lacks. Yields in volume order. Holds no data itself; after it ends, nothing that it started still runs.
 *
 * Rejects with the first failure of the volume, the store, the spool or the codec, or with the signal's
 * reason; what was stored and noted by then stays.
 */
export async function* backupVolume(
  { plan, lanes, parentDigests, log, lastNumber }: BackupWork,
  signal: AbortSignal,
): AsyncGenerator<BackupProgress, void, undefined> {
  const { sizeBytes, windowBytes } = log.layout
  // The chunks of a full backup are its windows; else each takes the next number that is free.
  const isNumberedByWindow = parentDigests === null && plan.zeroChunks === 'compat'
  let used = lastNumber

  /** Who asks again, since its lane died, gets the same: what was put by then is replaced. */
  function numbersOf(window: number): (count: number) => number {
    if (isNumberedByWindow) return () => window + 1
    const given = { first: 0, count: 0 }
    return (count) => {
      if (count > given.count) {
        Object.assign(given, { first: used + 1, count })
        used += count
      }
      return given.first
    }
  }

  async function taskFor(window: number): Promise<WindowTask> {
    const offsetBytes = window * windowBytes
    const lengthBytes = Math.min(windowBytes, sizeBytes - offsetBytes)
    const { container, prefix, blockSizeBytes, compression, effort, verifiesUpload } = plan
    return {
      ...{ offsetBytes, lengthBytes, container, prefix, blockSizeBytes },
      ...{ compression, effort, verifiesUpload, zeroChunks: plan.zeroChunks },
      parentDigests: await digestsOf(
        parentDigests,
        offsetBytes / blockSizeBytes,
        lengthBytes,
        plan,
      ),
    }
  }

  const windows = mapOrdered(
    indexes(log.windowCount),
    windowsAhead,
    signal,
    async (window, stop) => {
      if (!log.isDone(window)) {
        const result = await lanes.storeWindow(await taskFor(window), numbersOf(window), stop)
        await log.add(window, result)
      }
      return Math.min((window + 1) * windowBytes, sizeBytes)
    },
  )
  for await (const endBytes of windows) yield { endBytes, chunkCount: log.count() }
}

function* indexes(count: number): Generator<number, void, undefined> {
  for (let index = 0; index < count; index += 1) yield index
}

/** The parent's digests of a window, as far as it has them. */
async function digestsOf(
  parent: SpoolFile | null,
  firstBlock: number,
  lengthBytes: number,
  { blockSizeBytes }: BackupPlan,
): Promise<Uint8Array | null> {
  if (parent === null) return null
  const packed = new Uint8Array(Math.ceil(lengthBytes / blockSizeBytes) * digestBytes)
  const bytes = await parent.read(firstBlock * digestBytes, packed)
  return packed.subarray(0, bytes)
}
