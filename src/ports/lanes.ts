import type { ExtentResult, ExtentTask, WindowResult, WindowTask } from '../domain/lane-tasks.ts'
import type { AccessSource } from './identity.ts'
import type { Log } from './log.ts'
import type { ObjectStore } from './object-store.ts'
import type { VolumeReader, VolumeWriter } from './volumes.ts'

/** Whose work a lane does, and with what. */
export type LaneJob = {
  readonly id: string
  readonly projectId: string | null
  readonly kind: 'create' | 'restore'
  /** Used by lanes of this thread. */
  readonly store: ObjectStore
  /** Lanes of other threads have stores of their own, and ask here for the token; null: none needed. */
  readonly access: AccessSource | null
  readonly volume: VolumeReader | VolumeWriter
  /** Whole chunks of this job in flight at most; what is small counts by its bytes. */
  readonly chunksMax: number
  readonly log: Log
}

/** The lanes as one job uses them. Disposed when none of its tasks runs any more. */
export interface LaneUse extends AsyncDisposable {
  /**
   * Backs a window up. `numbers` gives the first of `count` chunk numbers that nobody else gets; it is
   * asked at most once a try. Rejects with what the volume, the store or the codec rejects with, or with
   * the signal's reason; by then nothing of the task runs. Objects that were put by then stay.
   */
  storeWindow(
    task: WindowTask,
    numbers: (count: number) => number,
    signal: AbortSignal,
  ): Promise<WindowResult>

  /**
   * Restores an extent onto the job's volume, which must be a writer that was checked. Rejects with
   * CHUNK_CORRUPT or OBJECT_NOT_FOUND naming object, offset and length, with what the volume or the
   * store rejects with, or with the signal's reason; by then nothing of the task runs.
   */
  restoreExtent(task: ExtentTask, signal: AbortSignal): Promise<ExtentResult>
}

/**
 * Those who do the work on chunks: read, digest, compress, send, and the reverse. One scheduler over
 * all jobs: fair between projects and between the jobs of one, restores first where nobody is behind;
 * memory is bounded whatever is asked for. `test/contracts/lanes.ts` is the executable form.
 */
export interface Lanes extends AsyncDisposable {
  open(job: LaneJob): LaneUse
}
