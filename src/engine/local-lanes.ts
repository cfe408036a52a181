import type { Accelerator } from '../ports/accelerator.ts'
import type { LaneJob, Lanes, LaneUse } from '../ports/lanes.ts'
import type { VolumeWriter } from '../ports/volumes.ts'
import { laneTools } from './lane-tools.ts'
import { restoreExtent } from './restore-chunk.ts'
import { storeWindow } from './store-window.ts'

/**
 * One lane, in the caller's own thread: for volumes and stores that live in its memory. Tasks are done
 * one after the other, in the order of the calls.
 */
export function localLanes(accelerator: Accelerator | null = null): Lanes {
  const tools = laneTools(accelerator)
  let last: Promise<unknown> = Promise.resolve()

  function inTurn<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const mine = last.then(() => {
      signal.throwIfAborted()
      return work()
    })
    last = mine.catch(() => undefined)
    return mine
  }

  function open({ store, volume }: LaneJob): LaneUse {
    return {
      storeWindow: (task, numbers, signal) =>
        inTurn(signal, () => {
          const bench = {
            ...{ volume, store, tools },
            numbers: async (count: number) => numbers(count),
            free: () => {},
          }
          return storeWindow(task, bench, signal)
        }),
      restoreExtent: (task, signal) =>
        inTurn(signal, () =>
          restoreExtent(task, { volume: volume as VolumeWriter, store, tools }, signal),
        ),
      async [Symbol.asyncDispose]() {
        await last
      },
    }
  }

  return {
    open,
    async [Symbol.asyncDispose]() {
      await last
      tools.buffers.drop()
    },
  }
}
