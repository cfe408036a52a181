import fs from 'node:fs'
import type { FileHandle } from 'node:fs/promises'

import { delay } from '../../lib/clock.ts'

/** At once, or in its time. */
type Soon<T> = T | Promise<T>

export type Readable = {
  read(
    into: Uint8Array,
    start: number,
    length: number,
    position: number,
  ): Soon<{ readonly bytesRead: number }>
}

export type Writable = {
  write(
    data: Uint8Array,
    start: number,
    length: number,
    position: number,
  ): Soon<{ readonly bytesWritten: number }>
}

/** An open device, as the calls of the kernel that we need of it. They may do less than was asked. */
export type DeviceFile = Readable &
  Writable & {
    sync(): Soon<void>
    stat(): Soon<fs.Stats>
  }

/** For a thread that must not stand still. */
export function waitingFile(handle: FileHandle): DeviceFile {
  return {
    read: (...at) => handle.read(...at),
    write: (...at) => handle.write(...at),
    sync: () => handle.sync(),
    stat: () => handle.stat(),
  }
}

/** For a lane: it has nothing else to do meanwhile, and a call in its own thread costs least. */
export function blockingFile(fd: number): DeviceFile {
  return {
    read: (...at) => ({ bytesRead: fs.readSync(fd, ...at) }),
    write: (...at) => ({ bytesWritten: fs.writeSync(fd, ...at) }),
    sync: () => fs.fsyncSync(fd),
    stat: () => fs.fstatSync(fd),
  }
}

const repeatMs = 10
const repeatsMax = 3000

/** Repeats what a signal to the process cut short, or what the device could not take just now. */
export async function persist<T>(call: () => Soon<T>, signal: AbortSignal): Promise<T> {
  for (let repeats = 0; ; repeats++) {
    try {
      return await call()
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if ((code !== 'EINTR' && code !== 'EAGAIN') || repeats === repeatsMax) throw error
    }
    await delay(repeatMs, signal)
  }
}

/** What went wrong, for a message: the device itself, or one call. */
export function deviceTrouble(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  return code === 'ENXIO' || code === 'ENODEV' ? 'the device is gone' : message
}
