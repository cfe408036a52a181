import { chunkBytesHeldMax } from '../domain/backup-plan.ts'
import { AgentError } from '../domain/errors.ts'
import type { Extent, ExtentSet } from '../domain/extents.ts'
import { planRestore, type RestoreLink, type RestoreStep } from '../domain/restore-plan.ts'
import { type ByteBudget, shareOf } from '../lib/byte-budget.ts'
import { mapOrdered } from '../lib/map-ordered.ts'
import type { ObjectStore } from '../ports/object-store.ts'
import type { VolumeWriter } from '../ports/volumes.ts'
import { type ChunkRestore, restoreChunk } from './restore-chunk.ts'
import { sparseWriter } from './sparse-write.ts'
import { zeroBodies } from './zero-bodies.ts'

export type RestoreOptions = {
  /** Whether the volume was made for this restore, and so is likely to read as zeros. */
  readonly volumeIsNew: boolean
  /** The agent's limits: what of a chunk is held in memory, or written while it comes. */
  readonly memoryMax: number
  readonly workers: number
  /** Gets every extent of the volume once it holds what it should. */
  readonly restored: ExtentSet
}

export type RestoreProgress = { readonly restoredBytes: number; readonly totalBytes: number }

const requestsMax = 32
const roomBytesMax = 157_286_400 // What one restore takes of the budget: three chunks of the default size.
const syncEveryBytes = 536_870_912

/** Where the data of a chain ends; the volume must reach that far. */
function endOfChain(links: readonly RestoreLink[]): number {
  return Math.max(0, ...links.map(({ endBytes }) => endBytes))
}

/**
 * Restores the last of `links` (oldest first, from the full backup on) onto `target`, and yields as
 * it goes. Every byte is fetched and written once. What it reports as restored is on stable storage
 * when it ends, and not before. Memory is bounded by `budget`; after it ends, nothing that it started
 * still runs.
 *
 * Rejects with VOLUME_TOO_SMALL before the first write, PARENT_MISMATCH, CHUNK_CORRUPT (nothing of
 * that chunk was written, or its context names the bad extent), OBJECT_NOT_FOUND, with what the
 * store, the spool or the volume rejects with, or with the signal's reason.
 */
export async function* restoreVolume(
  links: readonly RestoreLink[],
  target: VolumeWriter,
  store: ObjectStore,
  options: RestoreOptions,
  budget: ByteBudget,
  signal: AbortSignal,
): AsyncGenerator<RestoreProgress, void, undefined> {
  const totalBytes = endOfChain(links)
  if (totalBytes > target.sizeBytes) {
    throw new AgentError(
      'VOLUME_TOO_SMALL',
      `the backup holds ${totalBytes} bytes, and the volume only ${target.sizeBytes}; ` +
        'restore onto a volume at least as large',
      { neededBytes: totalBytes, sizeBytes: target.sizeBytes },
    )
  }
  const writer = sparseWriter(target, options.volumeIsNew)
  const chunks: ChunkRestore = {
    store,
    writer,
    room: shareOf(budget, roomBytesMax),
    bytesHeldMax: chunkBytesHeldMax(options),
    zeroBodies: zeroBodies(),
  }

  async function restoreStep(step: RestoreStep, stop: AbortSignal): Promise<readonly Extent[]> {
    if (step.kind === 'chunk') {
      await restoreChunk(chunks, step, stop)
      return step.pieces
    }
    await writer.writeZeros(step.extent, stop)
    return [step.extent]
  }

  let restoredBytes = 0
  let unsyncedBytes = 0
  const done = mapOrdered(planRestore(links), requestsMax, signal, async (step, stop) => {
    const extents = await restoreStep(step, stop)
    // From the last on: in the gaps of what is done, each then joins the end of the list at once.
    for (const extent of extents.toReversed()) options.restored.add(extent)
    return extents.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0)
  })
  for await (const bytes of done) {
    restoredBytes += bytes
    unsyncedBytes += bytes
    if (unsyncedBytes >= syncEveryBytes) {
      await target.sync()
      unsyncedBytes = 0
    }
    yield { restoredBytes, totalBytes }
  }
  await target.sync()
}
