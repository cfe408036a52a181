import { constants } from 'node:fs'
import { type FileHandle, open, readlink } from 'node:fs/promises'

import { AgentError, type ErrorCode } from '../../domain/errors.ts'
import type { Accelerator } from '../../ports/accelerator.ts'
import type { VolumeReader, VolumeWriter } from '../../ports/volumes.ts'
import { waitingFile } from './device-file.ts'
import {
  assertStillItself,
  assertUnused,
  assertWritable,
  changed,
  identify,
  lastingIdentity,
  presentEpoch,
  readOnly,
} from './device-identity.ts'
import { type DeviceIo, deviceReading, deviceWriting } from './device-io.ts'
import type { DevicePath } from './device-path.ts'

// Never O_CREAT or O_TRUNC. O_NOFOLLOW: links were followed and judged before. O_NONBLOCK: a node
// that became a pipe meanwhile must not hang us; it means nothing to disks and files.
const flagsAlways = constants.O_NONBLOCK | constants.O_NOFOLLOW | constants.O_NOCTTY

/** What all volumes of this agent have in common. */
type Opening = { readonly accelerator: Accelerator | null; readonly signal: AbortSignal }

/**
 * Opens for reading; others may read or write meanwhile. Bound to `signal` only while it searches bad
 * sectors or waits for a busy device.
 */
export async function openReader(device: DevicePath, opening: Opening): Promise<VolumeReader> {
  await using files = new AsyncDisposableStack()
  const file = files.use(await openFile(device, constants.O_RDONLY))
  const { sizeBytes } = await identify(device, file)
  // A file's pages may be there already, and others want them too.
  const direct = device.kind === 'file' ? null : await openDirect(device, file, constants.O_RDONLY)
  if (direct !== null) files.use(direct)
  return {
    ...deviceReading(waitingIo(device, file, direct, sizeBytes, opening)),
    ...closing(files.move(), () => {}),
  }
}

/**
 * Opens for writing, a block device exclusively: the kernel then lets nobody mount it or open it
 * exclusively. Rejects with VOLUME_IN_USE where somebody has it. `onClose` is called once.
 */
export async function openWriter(
  device: DevicePath,
  opening: Opening,
  onClose: () => void,
): Promise<VolumeWriter> {
  await assertUnused(device)
  const exclusive = device.kind === 'block' ? constants.O_EXCL : 0
  await using files = new AsyncDisposableStack()
  const file = files.use(await openFile(device, constants.O_RDWR | exclusive))
  const opened = await identify(device, file)
  await assertWritable(device)
  await assertUnused(device)

  let lastCheck: Promise<void> | null = null
  const check = () => {
    lastCheck = assertStillItself(device, file, opened)
    return lastCheck
  }
  const direct = await openDirect(device, file, constants.O_RDWR)
  if (direct !== null) files.use(direct)
  const io = waitingIo(device, file, direct, opened.sizeBytes, opening)
  return {
    ...deviceReading(io),
    ...deviceWriting(io, () => lastCheck ?? check()),
    identity: await lastingIdentity(device, opened.sizeBytes),
    epoch: await presentEpoch(device, file),
    check,
    ...closing(files.move(), onClose),
  }
}

function waitingIo(
  { path }: DevicePath,
  file: FileHandle,
  direct: FileHandle | null,
  sizeBytes: number,
  { accelerator, signal }: Opening,
): DeviceIo {
  return {
    shared: { path, sizeBytes, fd: file.fd, directFd: direct?.fd ?? null },
    file: waitingFile(file),
    direct: direct === null ? null : waitingFile(direct),
    accelerator,
    signal,
  }
}

/** Disposing twice is once. */
function closing(files: AsyncDisposableStack, onClose: () => void): AsyncDisposable {
  return {
    async [Symbol.asyncDispose]() {
      if (files.disposed) return
      try {
        await files.disposeAsync()
      } finally {
        onClose()
      }
    },
  }
}

/**
 * A second way to what is open, past the page cache. Null where it cannot be had: it only saves time.
 */
async function openDirect(
  device: DevicePath,
  file: FileHandle,
  access: number,
): Promise<FileHandle | null> {
  // By the descriptor, not by the path: what lies there now may be another device.
  const flags = access | constants.O_DIRECT | constants.O_NONBLOCK | constants.O_NOCTTY
  const direct = await open(`/proc/self/fd/${file.fd}`, flags).catch(() => null)
  if (direct === null || (await isStill(device, direct))) return direct
  await direct.close()
  return null
}

async function openFile(device: DevicePath, flags: number): Promise<FileHandle> {
  const isWriting = (flags & constants.O_RDWR) !== 0
  let file: FileHandle
  try {
    file = await open(device.realPath, flags | flagsAlways)
  } catch (error) {
    throw openFailed(device, isWriting, error)
  }
  // Whatever was judged by its path must be what we now hold.
  const realPath = await readlink(`/proc/self/fd/${file.fd}`)
  if ((await isStill(device, file)) && realPath === device.realPath) return file
  await file.close()
  throw changed(device, 'was replaced while it was opened')
}

async function isStill({ dev, ino, rdev }: DevicePath, file: FileHandle): Promise<boolean> {
  const stats = await file.stat({ bigint: true })
  return stats.dev === dev && stats.ino === ino && stats.rdev === rdev
}

function openFailed(device: DevicePath, isWriting: boolean, error: unknown): AgentError {
  const { code, message } = error as NodeJS.ErrnoException
  const context = { path: device.path, realPath: device.realPath }
  const fail = (agentCode: ErrorCode, text: string) =>
    new AgentError(agentCode, `${device.path} ${text}`, context, error)
  switch (code) {
    case 'EBUSY':
      return fail(
        'VOLUME_IN_USE',
        `is held by another program: fuser -v ${device.realPath} names it`,
      )
    case 'ENOENT':
      return changed(device, 'vanished while it was opened')
    case 'ENXIO':
    case 'ENODEV':
    case 'ENOMEDIUM':
      return fail(
        'VOLUME_NOT_FOUND',
        'is a node without a device behind it: attach the volume first',
      )
    case 'EROFS':
      return readOnly(device)
    case 'EACCES':
    case 'EPERM': {
      const what = isWriting ? 'written' : 'read'
      return fail(
        isWriting ? 'VOLUME_WRITE_FAILED' : 'VOLUME_READ_FAILED',
        `may not be ${what}: it is read-only, or the agent's user is not in its group (disk)`,
      )
    }
    default:
      return fail(
        isWriting ? 'VOLUME_WRITE_FAILED' : 'VOLUME_READ_FAILED',
        `could not be opened: ${message}`,
      )
  }
}
