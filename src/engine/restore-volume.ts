import { chunkBytesHeldMax } from '../domain/backup-plan.ts'
import { AgentError } from '../domain/errors.ts'
import type { ExtentSet } from '../domain/extents.ts'
import type { ExtentTask } from '../domain/lane-tasks.ts'
import {
  endOfChain,
  planRestore,
  type RestoreLink,
  type RestoreStep,
} from '../domain/restore-plan.ts'
import { mapOrdered } from '../lib/map-ordered.ts'
import type { LaneUse } from '../ports/lanes.ts'
import type { VolumeWriter } from '../ports/volumes.ts'
import {
  checkPieces,
  checkReach,
  checkZeros,
  type ExpectedDigests,
  expectedOf,
  onBlocks,
} from './expected-digests.ts'
import type { RestoreLog } from './restore-log.ts'

export type RestoreOptions = {
  /** Whether the volume was made for this restore, and so is likely to read as zeros. */
  readonly volumeIsNew: boolean
  /** The agent's limits: what of a chunk is held in memory, or written while it comes. */
  readonly memoryMax: number
  readonly workers: number
}

export type RestoreWork = {
  /** Oldest first, from the full backup on. */
  readonly links: readonly RestoreLink[]
  readonly target: VolumeWriter
  readonly lanes: LaneUse
  /** Null where there is no sha256file: then each chunk's md5 decides. */
  readonly expected: ExpectedDigests | null
  /** Takes the steps that are done, and knows those that were done before. */
  readonly log: RestoreLog
  /** Gets every extent of the volume once it holds what it should. */
  readonly restored: ExtentSet
  readonly options: RestoreOptions
}

export type RestoreProgress = {
  readonly restoredBytes: number
  /** What this start did of them. */
  readonly newBytes: number
  readonly totalBytes: number
  /** Of objects, by this start. */
  readonly fetchedBytes: number
}

const stepsAhead = 32
const syncEveryBytes = 268_435_456

/** Throws VOLUME_TOO_SMALL where a chain does not fit the volume. */
export function checkFits(links: readonly RestoreLink[], target: VolumeWriter): void {
  const neededBytes = endOfChain(links)
  if (neededBytes <= target.sizeBytes) return
  throw new AgentError(
    'VOLUME_TOO_SMALL',
    `the backup holds ${neededBytes} bytes, and the volume only ${target.sizeBytes}; ` +
      'restore onto a volume at least as large',
    { neededBytes, sizeBytes: target.sizeBytes },
  )
}

/**
 * Restores the last of `links` onto `target`, and yields as it goes. Every byte is fetched and written
 * once. What it reports as restored is on stable storage when it ends, and not before. Holds no data
 * itself; after it ends, nothing that it started still runs.
 *
 * Rejects with VOLUME_TOO_SMALL before the first write, VOLUME_CHANGED or VOLUME_IN_USE, PARENT_MISMATCH,
 * MANIFEST_INVALID where the metadata is not whole or the sha256file disagrees with it,
 * CHUNK_CORRUPT (nothing of that chunk was written, or its context names the bad extent),
 * OBJECT_NOT_FOUND, with what the store, the spool or the volume rejects with, or with the signal's reason.
 */
export async function* restoreVolume(
  work: RestoreWork,
  signal: AbortSignal,
): AsyncGenerator<RestoreProgress, void, undefined> {
  const { links, target, lanes, expected, log, restored } = work
  checkFits(links, target)
  checkReach(links, expected)
  const totalBytes = endOfChain(links)
  await target.check()
  const syncing = steppedSync(target, log)
  let restoredBytes = 0
  let newBytes = 0
  let fetchedBytes = 0

  const steps = mapOrdered(
    numbered(planRestore(onBlocks(links, expected))),
    stepsAhead,
    signal,
    async (one, stop) => {
      const { step, number } = one
      const extents = step.kind === 'chunk' ? step.pieces : [step.extent]
      const bytes = extents.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0)
      const wasDone = log.isDone(number)
      if (!wasDone) {
        const task = await taskFor(work, step, totalBytes)
        fetchedBytes += (await lanes.restoreExtent(task, stop)).fetchedBytes
        await log.add(number, bytes)
      }
      // From the last on: in the gaps of what is done, each then joins the end of the list at once.
      for (const extent of extents.toReversed()) restored.add(extent)
      restoredBytes += bytes
      if (!wasDone) {
        newBytes += bytes
        syncing.wrote(bytes)
      }
      return restoredBytes
    },
  )
  try {
    for await (const _ of steps) {
      syncing.throwIfFailed()
      yield { restoredBytes, newBytes, totalBytes, fetchedBytes }
    }
  } finally {
    await syncing.settled()
  }
  syncing.throwIfFailed()
  await target.sync()
}

type Numbered = { readonly step: RestoreStep; readonly number: number }

async function* numbered(steps: AsyncIterable<RestoreStep>): AsyncGenerator<Numbered> {
  let number = 0
  for await (const step of steps) {
    yield { step, number }
    number += 1
  }
}

async function taskFor(
  { links, expected, options }: RestoreWork,
  step: RestoreStep,
  endBytes: number,
): Promise<ExtentTask> {
  const { volumeIsNew } = options
  const common = { bytesHeldMax: chunkBytesHeldMax(options), volumeIsNew }
  if (step.kind === 'zeros') {
    await checkZeros(step.extent, expected, endBytes)
    return { ...common, ...step }
  }
  if (links.length > 1) checkPieces(step.chunk, step.pieces, expected)
  return { ...common, ...step, expected: await expectedOf(step.pieces, expected, endBytes) }
}

/** Syncs while the restore goes on, so that its end is no cliff; one at a time. */
function steppedSync(target: VolumeWriter, log: RestoreLog) {
  let unsyncedBytes = 0
  let running: Promise<void> | null = null
  let failure: unknown = null

  async function sync(): Promise<void> {
    try {
      const count = log.count()
      await target.sync()
      await log.synced(count)
    } catch (error) {
      failure = error
    } finally {
      running = null
    }
  }

  return {
    wrote(bytes: number): void {
      unsyncedBytes += bytes
      if (unsyncedBytes < syncEveryBytes || running !== null || failure !== null) return
      unsyncedBytes = 0
      running = sync()
    },
    throwIfFailed(): void {
      if (failure !== null) throw failure
    },
    async settled(): Promise<void> {
      await running
    },
  }
}
