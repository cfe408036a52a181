import type { Accelerator } from '../../ports/accelerator.ts'
import type { SharedVolume, VolumeReader, VolumeWriter } from '../../ports/volumes.ts'
import { blockingFile } from './device-file.ts'
import { type DeviceIo, deviceReading, deviceWriting } from './device-io.ts'

const never = new AbortController().signal

/**
 * A volume that another thread has open and keeps open, read from this one. Every call blocks the
 * thread. What is read into memory of `pageBuffer`, whole pages from a page's start, goes past the
 * page cache where the volume allows it. Disposing it closes nothing.
 */
export function sharedReader(
  shared: SharedVolume,
  accelerator: Accelerator | null,
  signal: AbortSignal = never,
): VolumeReader {
  return { ...deviceReading(blockingIo(shared, accelerator, signal)), ...leftOpen }
}

/**
 * The same for writing. It looks at nothing before it writes: the thread that opened the volume does,
 * with `check`, and knows `identity` and `epoch`, which are empty here. The kernel tells only one of
 * those who sync that something was lost: a sync that fails in one thread has failed for all.
 */
export function sharedWriter(
  shared: SharedVolume,
  accelerator: Accelerator | null,
  signal: AbortSignal = never,
): VolumeWriter {
  const io = blockingIo(shared, accelerator, signal)
  const check = async () => {}
  return {
    identity: '',
    epoch: '',
    check,
    ...deviceReading(io),
    ...deviceWriting(io, check),
    ...leftOpen,
  }
}

const leftOpen = { async [Symbol.asyncDispose]() {} }

function blockingIo(
  shared: SharedVolume,
  accelerator: Accelerator | null,
  signal: AbortSignal,
): DeviceIo {
  const { fd, directFd } = shared
  const direct = directFd === null ? null : blockingFile(directFd)
  return { shared, file: blockingFile(fd), direct, accelerator, signal }
}
