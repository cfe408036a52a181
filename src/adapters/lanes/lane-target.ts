import { monotonicMs } from '../../lib/clock.ts'

/** How many lanes should work at once. */
export interface LaneTarget {
  readonly count: number
  /** A lane has done a task and waited this part of its time; `hasMore`: others wait for a lane. */
  taskDone(idleShare: number, hasMore: boolean): void
  /** The store says that it is asked too much. */
  throttled(): void
}

const idleShareMany = 0.6 // More than half of the time went by waiting for the store.
const idleShareFew = 0.2
const spareShareMin = 0.4
const weight = 0.3 // Of the newest sample.
const stepMs = 500 // Between two changes, so that the last one can be seen.
const throttledMs = 5000 // How long a store that complained is left alone.

/**
 * As many as there are cores while the store keeps up; twice as many while they mostly wait for it and
 * the machine has cores to spare; half when it complains, and from there one by one again.
 * `spareShare` tells the part of the machine's time that went unused since it was last asked.
 */
export function laneTarget(cores: number, spareShare: () => number): LaneTarget {
  let count = cores
  let idle = 0
  let changedMs = monotonicMs()
  let throttledAtMs = Number.NEGATIVE_INFINITY

  function change(to: number): void {
    count = to
    changedMs = monotonicMs()
  }

  return {
    get count() {
      return count
    },
    taskDone(idleShare, hasMore) {
      idle = (1 - weight) * idle + weight * idleShare
      const nowMs = monotonicMs()
      if (nowMs - changedMs < stepMs || nowMs - throttledAtMs < throttledMs) return
      const isWaiting = hasMore && idle > idleShareMany && count >= cores && count < 2 * cores
      if (isWaiting) changedMs = nowMs // The next look at the machine is as far off.
      if (count < cores) change(count + 1)
      else if (isWaiting && spareShare() > spareShareMin) change(count + 1)
      else if (idle < idleShareFew && count > cores) change(count - 1)
    },
    throttled() {
      const nowMs = monotonicMs()
      if (nowMs - throttledAtMs < stepMs) return // One complaint, heard by several.
      throttledAtMs = nowMs
      change(Math.max(1, Math.floor(count / 2)))
    },
  }
}
