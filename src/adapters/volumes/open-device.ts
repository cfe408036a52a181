import { constants } from 'node:fs'
import { type FileHandle, open, readFile, readlink, stat } from 'node:fs/promises'

import { AgentError, type ErrorCode } from '../../domain/errors.ts'
import type { VolumeReader, VolumeWriter } from '../../ports/volumes.ts'
import { deviceHolder } from './device-holders.ts'
import { type DevicePath, deviceNumber } from './device-path.ts'
import { readFully } from './read-fully.ts'

// Never O_CREAT or O_TRUNC. O_NOFOLLOW: links were followed and judged before. O_NONBLOCK: a node
// that became a pipe meanwhile must not hang us; it means nothing to disks and files.
const flagsAlways = constants.O_NONBLOCK | constants.O_NOFOLLOW | constants.O_NOCTTY

const linuxSectorBytes = 512 // The unit of sysfs, whatever the disk's own. Source: block/genhd.c.

/** Opens for reading; others may read or write meanwhile. Bound to `signal` only while searching bad sectors. */
export async function openReader(device: DevicePath, signal: AbortSignal): Promise<VolumeReader> {
  const file = await openFile(device, constants.O_RDONLY)
  try {
    const { sizeBytes } = await identify(device, file)
    return deviceReader(device, file, sizeBytes, signal)
  } catch (error) {
    await file.close()
    throw error
  }
}

/**
 * Opens for writing, a block device exclusively: the kernel then lets nobody mount it or open it
 * exclusively. Rejects with VOLUME_IN_USE where somebody has it. `onClose` is called once.
 */
export async function openWriter(
  device: DevicePath,
  signal: AbortSignal,
  onClose: () => void,
): Promise<VolumeWriter> {
  await assertUnused(device)
  const exclusive = device.kind === 'block' ? constants.O_EXCL : 0
  const file = await openFile(device, constants.O_RDWR | exclusive)
  try {
    const identity = await identify(device, file)
    await assertWritable(device)
    await assertUnused(device)
    return deviceWriter(device, file, identity, signal, onClose)
  } catch (error) {
    await file.close()
    throw error
  }
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
  const [stats, realPath] = await Promise.all([
    file.stat({ bigint: true }),
    readlink(`/proc/self/fd/${file.fd}`),
  ])
  const isSame = stats.dev === device.dev && stats.ino === device.ino && stats.rdev === device.rdev
  if (isSame && realPath === device.realPath) return file
  await file.close()
  throw changed(device, 'was replaced while it was opened')
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

/** What must be the same as long as this is the same volume. */
type Identity = {
  readonly sizeBytes: number
  /** Grows with every disk that the kernel sees: tells a device from its successor of that number. */
  readonly diskSequence: string | null
}

async function identify(device: DevicePath, file: FileHandle): Promise<Identity> {
  const identity = await readIdentity(device, file)
  if (identity.sizeBytes > 0) return identity
  throw new AgentError('VOLUME_INVALID_SIZE', `${device.path} has a size of 0 bytes`, {
    path: device.path,
  })
}

async function readIdentity(device: DevicePath, file: FileHandle): Promise<Identity> {
  if (device.kind === 'file') {
    return { sizeBytes: (await file.stat()).size, diskSequence: null }
  }
  const folder = `/sys/dev/block/${deviceNumber(device.rdev)}`
  try {
    const sectors = Number(await readFile(`${folder}/size`, 'utf8'))
    const diskSequence = await readFile(`${folder}/diskseq`, 'utf8').catch(() => null)
    return { sizeBytes: sectors * linuxSectorBytes, diskSequence }
  } catch (error) {
    throw new AgentError(
      'VOLUME_CHANGED',
      `${device.path} is not known to the kernel any more (${folder}/size cannot be read)`,
      { path: device.path },
      error,
    )
  }
}

/** The kernel opens a read-only disk for writing as well, and refuses only the writes. */
async function assertWritable(device: DevicePath): Promise<void> {
  if (device.kind === 'file') return
  const flag = await readFile(`/sys/dev/block/${deviceNumber(device.rdev)}/ro`, 'utf8')
  if (flag.trim() !== '0') throw readOnly(device)
}

function readOnly(device: DevicePath): AgentError {
  return new AgentError(
    'VOLUME_WRITE_FAILED',
    `${device.path} is read-only: nothing was written; make it writable (blockdev --setrw ` +
      `${device.realPath}) or restore onto another volume`,
    { path: device.path, realPath: device.realPath },
  )
}

async function assertUnused(device: DevicePath): Promise<void> {
  const holder = await deviceHolder(device)
  if (holder === null) return
  throw new AgentError(
    'VOLUME_IN_USE',
    `${device.path} is not written to: ${holder}; free it, then restore again`,
    { path: device.path, realPath: device.realPath, holder },
  )
}

function changed(device: DevicePath, what: string): AgentError {
  return new AgentError(
    'VOLUME_CHANGED',
    `${device.path} ${what}: nothing was written; see that the volume stays attached, then repeat`,
    { path: device.path, realPath: device.realPath },
  )
}

function deviceReader(
  device: DevicePath,
  file: FileHandle,
  sizeBytes: number,
  signal: AbortSignal,
): VolumeReader {
  return {
    path: device.path,
    sizeBytes,
    async read(offsetBytes, into) {
      if (offsetBytes + into.byteLength > sizeBytes) {
        throw new AgentError(
          'VOLUME_CHANGED',
          `${device.path} ends at ${sizeBytes} bytes, before what is to be read`,
          { path: device.path, offsetBytes, lengthBytes: into.byteLength },
        )
      }
      await readFully(file, device.path, offsetBytes, into, signal)
    },
    async [Symbol.asyncDispose]() {
      await file.close() // Twice is once: a closed FileHandle resolves.
    },
  }
}

function deviceWriter(
  device: DevicePath,
  file: FileHandle,
  identity: Identity,
  signal: AbortSignal,
  onClose: () => void,
): VolumeWriter {
  const { sizeBytes } = identity
  const fail = (what: string, error: unknown, context: Record<string, unknown> = {}) =>
    new AgentError(
      'VOLUME_WRITE_FAILED',
      `${what} ${device.path} failed: ${(error as Error).message}`,
      { path: device.path, ...context },
      error,
    )
  let firstCheck: Promise<void> | null = null
  let lost: AgentError | null = null
  let isOpen = true

  return {
    ...deviceReader(device, file, sizeBytes, signal),

    async write(offsetBytes, data) {
      firstCheck ??= assertStillItself(device, file, identity)
      await firstCheck
      if (offsetBytes + data.byteLength > sizeBytes) {
        throw new AgentError(
          'VOLUME_TOO_SMALL',
          `${device.path} has ${sizeBytes} bytes, too few to write ${data.byteLength} at offset ` +
            `${offsetBytes}: extend the volume, then restore again`,
          { path: device.path, offsetBytes, lengthBytes: data.byteLength },
        )
      }
      try {
        for (let done = 0; done < data.byteLength; ) {
          const rest = data.byteLength - done
          done += (await file.write(data, done, rest, offsetBytes + done)).bytesWritten
        }
      } catch (error) {
        const context = { offsetBytes, lengthBytes: data.byteLength }
        throw fail(`writing ${data.byteLength} bytes at offset ${offsetBytes} of`, error, context)
      }
    },

    async sync() {
      // The kernel reports lost writes once only; what it lost then stays lost.
      if (lost !== null) throw lost
      try {
        await file.sync()
      } catch (error) {
        lost = fail('bringing what was written to', error)
        throw lost
      }
    },

    async [Symbol.asyncDispose]() {
      if (!isOpen) return
      isOpen = false
      try {
        await file.close()
      } finally {
        onClose()
      }
    },
  }
}

/** The last look before the first byte: same node, same size, still nobody else's. */
async function assertStillItself(device: DevicePath, file: FileHandle, identity: Identity) {
  const now = await stat(device.path, { bigint: true }).catch(() => null)
  if (now === null) throw changed(device, 'vanished before the first write')
  const isSameNode =
    device.kind === 'block'
      ? now.isBlockDevice() && now.rdev === device.rdev
      : now.dev === device.dev && now.ino === device.ino
  if (!isSameNode) throw changed(device, 'leads to another device than was opened')
  const { sizeBytes, diskSequence } = await readIdentity(device, file)
  if (diskSequence !== identity.diskSequence) throw changed(device, 'is another disk by now')
  if (sizeBytes !== identity.sizeBytes) {
    throw changed(device, `has ${sizeBytes} bytes now and had ${identity.sizeBytes} when opened`)
  }
  await assertUnused(device)
}
