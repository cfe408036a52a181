import { codecOf } from '../../domain/compression.ts'
import { storedBytesMax } from '../../domain/stored-chunk.ts'
import type { LaneTask } from './lane-messages.ts'

const streamBytes = 4_194_304
const zerosBytes = 1_048_576

/** The most that a task needs of a lane's buffers. */
export function bytesNeeded(task: LaneTask): number {
  if (task.kind === 'window') {
    const { lengthBytes, compression, verifiesUpload } = task.window
    if (codecOf(compression) === 'none') return lengthBytes
    return lengthBytes + storedBytesMax(lengthBytes) + (verifiesUpload ? lengthBytes : 0)
  }
  const { extent } = task
  if (extent.kind === 'zeros') return zerosBytes
  const { lengthBytes, compression } = extent.chunk
  if (lengthBytes > extent.bytesHeldMax) return streamBytes
  return codecOf(compression) === 'none' ? lengthBytes : lengthBytes + storedBytesMax(lengthBytes)
}

/** How many bytes of the volume a task is about: what its job is served by. */
export function bytesServed(task: LaneTask): number {
  if (task.kind === 'window') return task.window.lengthBytes
  const { extent } = task
  return extent.kind === 'zeros' ? extent.extent.lengthBytes : extent.chunk.lengthBytes
}

/**
 * What the buffers of all lanes may take once one more works beside `working`. Those beyond the cores
 * (`workers`) do nothing but hide how slow a store is: for that there is half of `memoryMax`.
 */
export function bytesAllowed(memoryMax: number, working: number, workers: number): number {
  return working < workers ? memoryMax : memoryMax / 2
}
