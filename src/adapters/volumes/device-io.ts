import { AgentError } from '../../domain/errors.ts'
import { pageBytes, startsOnPage } from '../../lib/page-buffer.ts'
import type { Accelerator } from '../../ports/accelerator.ts'
import type { SharedVolume, VolumeReader, VolumeWriter } from '../../ports/volumes.ts'
import {
  type DeviceFile,
  deviceTrouble,
  persist,
  type Readable,
  type Writable,
} from './device-file.ts'
import { deviceSize } from './device-identity.ts'
import { readFully } from './read-fully.ts'

/** An open volume, however this thread makes its calls. */
export type DeviceIo = {
  readonly shared: SharedVolume
  readonly file: DeviceFile
  /** Open past the page cache; null where that cannot be had. */
  readonly direct: (Readable & Writable) | null
  readonly accelerator: Accelerator | null
  /** Ends the search for bad sectors and the waiting for a device that is busy. */
  readonly signal: AbortSignal
}

type Reading = Omit<VolumeReader, typeof Symbol.asyncDispose>
type Writing = Pick<VolumeWriter, 'write' | 'punch' | 'sync'>

/** Reads an open device; closing it is another's business. */
export function deviceReading({ shared, file, direct, accelerator, signal }: DeviceIo): Reading {
  const { path, sizeBytes, fd } = shared
  return {
    path,
    sizeBytes,
    shared,

    dataRun(offsetBytes) {
      if (offsetBytes >= sizeBytes) return null
      const run = accelerator?.dataRun(fd, offsetBytes)
      if (run === undefined) return { start: offsetBytes, end: sizeBytes }
      if (run === null || run.start >= sizeBytes) return null
      return { start: run.start, end: Math.min(run.end, sizeBytes) }
    },

    async read(offsetBytes, into) {
      if (offsetBytes + into.byteLength > sizeBytes) {
        throw new AgentError(
          'VOLUME_CHANGED',
          `${path} ends at ${sizeBytes} bytes, before what is to be read`,
          { path, offsetBytes, lengthBytes: into.byteLength },
        )
      }
      await readFully({ path, cached: file, direct }, offsetBytes, into, signal)
    },

    async sizeNow() {
      const now = await deviceSize(path, await file.stat())
      if (now >= sizeBytes) return now
      throw new AgentError(
        'VOLUME_CHANGED',
        `${path} has ${now} bytes now and had ${sizeBytes} when it was opened: it has shrunk; ` +
          'start anew',
        { path, sizeBytes, nowBytes: now },
      )
    },
  }
}

/** Writes an open device after `check` has found it to be what was opened. */
export function deviceWriting(
  { shared, file, direct, accelerator, signal }: DeviceIo,
  check: () => Promise<void>,
): Writing {
  const { path, sizeBytes, fd } = shared
  let lost: AgentError | null = null

  function assertFits(offsetBytes: number, lengthBytes: number): void {
    if (offsetBytes + lengthBytes <= sizeBytes) return
    throw new AgentError(
      'VOLUME_TOO_SMALL',
      `${path} has ${sizeBytes} bytes, too few to write ${lengthBytes} at offset ${offsetBytes}: ` +
        'extend the volume, then restore again',
      { path, offsetBytes, lengthBytes },
    )
  }

  /** Whole pages go past the page cache where they can: copying them there would take most of the time. */
  async function writeOnce(data: Uint8Array, start: number, position: number) {
    const rest = data.byteLength - start
    const pages = rest - (rest % pageBytes)
    const isAligned = position % pageBytes === 0 && startsOnPage(data.subarray(start))
    if (direct === null || pages === 0 || !isAligned) return file.write(data, start, rest, position)
    try {
      return await direct.write(data, start, pages, position)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EINVAL') throw error
      return file.write(data, start, rest, position) // A device with larger sectors.
    }
  }

  return {
    async write(offsetBytes, data) {
      await check()
      assertFits(offsetBytes, data.byteLength)
      for (let done = 0; done < data.byteLength; ) {
        const rest = data.byteLength - done
        const writing = () => writeOnce(data, done, offsetBytes + done)
        const { bytesWritten } = await persist(writing, signal).catch((error: unknown) => {
          signal.throwIfAborted()
          throw writeFailed(path, 'writing', offsetBytes + done, rest, error)
        })
        if (bytesWritten === 0) {
          const nothing = new Error('the device took none of it')
          throw writeFailed(path, 'writing', offsetBytes + done, rest, nothing)
        }
        done += bytesWritten
      }
    },

    async punch({ offsetBytes, lengthBytes }) {
      await check()
      assertFits(offsetBytes, lengthBytes)
      if (lengthBytes === 0) return true
      try {
        return accelerator?.punchHole(fd, offsetBytes, lengthBytes) ?? false
      } catch (error) {
        throw writeFailed(path, 'clearing', offsetBytes, lengthBytes, error)
      }
    },

    async sync() {
      // The kernel reports lost writes once only; what it lost then stays lost.
      if (lost !== null) throw lost
      try {
        await persist(() => file.sync(), signal)
      } catch (error) {
        signal.throwIfAborted()
        const text = `bringing what was written to ${path} failed: ${deviceTrouble(error)}`
        lost = new AgentError('VOLUME_WRITE_FAILED', text, { path }, error)
        throw lost
      }
    },
  }
}

function writeFailed(
  path: string,
  action: string,
  offsetBytes: number,
  lengthBytes: number,
  error: unknown,
): AgentError {
  return new AgentError(
    'VOLUME_WRITE_FAILED',
    `${action} ${lengthBytes} bytes at offset ${offsetBytes} of ${path} failed: ${deviceTrouble(error)}`,
    { path, offsetBytes, lengthBytes },
    error,
  )
}
