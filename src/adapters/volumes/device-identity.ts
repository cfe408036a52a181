import type { Stats } from 'node:fs'
import { type FileHandle, readFile, stat } from 'node:fs/promises'

import { AgentError } from '../../domain/errors.ts'
import { deviceHolder } from './device-holders.ts'
import { type DevicePath, deviceNumber } from './device-path.ts'

const linuxSectorBytes = 512 // The unit of sysfs, whatever the disk's own. Source: block/genhd.c.

/** What must be the same as long as this is the same volume. */
export type Identity = {
  readonly sizeBytes: number
  /** Grows with every disk that the kernel sees: tells a device from its successor of that number. */
  readonly diskSequence: string | null
}

/** The size of what is open now, by what fstat(2) tells of it. */
export async function deviceSize(path: string, stats: Stats): Promise<number> {
  return stats.isBlockDevice() ? blockSize(path, BigInt(stats.rdev)) : stats.size
}

async function blockSize(path: string, rdev: bigint): Promise<number> {
  const file = `${blockFolder(rdev)}/size`
  try {
    return Number(await readFile(file, 'utf8')) * linuxSectorBytes
  } catch (error) {
    throw new AgentError(
      'VOLUME_CHANGED',
      `${path} is not known to the kernel any more (${file} cannot be read)`,
      { path },
      error,
    )
  }
}

export async function identify(device: DevicePath, file: FileHandle): Promise<Identity> {
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
  const sizeBytes = await blockSize(device.path, device.rdev)
  return { sizeBytes, diskSequence: await text(`${blockFolder(device.rdev)}/diskseq`) }
}

/** The last look before the first byte: same node, same size, still nobody else's. */
export async function assertStillItself(device: DevicePath, file: FileHandle, identity: Identity) {
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

/**
 * The volume's name that outlives a boot, and its size. Nodes are numbered as they come, so that
 * after a boot `dm-3` may be another volume: what the disk says of itself counts, where it says
 * anything.
 */
export async function lastingIdentity(device: DevicePath, sizeBytes: number): Promise<string> {
  if (device.kind === 'block') {
    for (const name of ['dm/uuid', 'wwid', 'device/wwid', 'serial', 'loop/backing_file']) {
      const own = await text(`${blockFolder(device.rdev)}/${name}`)
      if (own !== null && own !== '') return `${name} ${own} ${sizeBytes}`
    }
  }
  return `${device.realPath} ${sizeBytes}`
}

/** Changes with the boot, for then the page cache is lost, and with the disk or file behind the path. */
export async function presentEpoch(device: DevicePath, file: FileHandle): Promise<string> {
  const boot = await text('/proc/sys/kernel/random/boot_id')
  // A host that does not tell its boots apart has a new one each time.
  const since = boot ?? `unknown ${process.hrtime.bigint()}`
  if (device.kind === 'file') {
    const { birthtimeNs } = await file.stat({ bigint: true })
    return `${since} ${device.dev}:${device.ino} ${birthtimeNs}`
  }
  const diskSequence = await text(`${blockFolder(device.rdev)}/diskseq`)
  return `${since} ${deviceNumber(device.rdev)} ${diskSequence ?? ''}`
}

/** The kernel opens a read-only disk for writing as well, and refuses only the writes. */
export async function assertWritable(device: DevicePath): Promise<void> {
  if (device.kind === 'file') return
  const flag = await readFile(`${blockFolder(device.rdev)}/ro`, 'utf8')
  if (flag.trim() !== '0') throw readOnly(device)
}

export async function assertUnused(device: DevicePath): Promise<void> {
  const holder = await deviceHolder(device)
  if (holder === null) return
  throw new AgentError(
    'VOLUME_IN_USE',
    `${device.path} is not written to: ${holder}; free it, then restore again`,
    { path: device.path, realPath: device.realPath, holder },
  )
}

export function readOnly(device: DevicePath): AgentError {
  return new AgentError(
    'VOLUME_WRITE_FAILED',
    `${device.path} is read-only: nothing was written; make it writable (blockdev --setrw ` +
      `${device.realPath}) or restore onto another volume`,
    { path: device.path, realPath: device.realPath },
  )
}

export function changed(device: DevicePath, what: string): AgentError {
  return new AgentError(
    'VOLUME_CHANGED',
    `${device.path} ${what}: nothing was written; see that the volume stays attached, then repeat`,
    { path: device.path, realPath: device.realPath },
  )
}

const blockFolder = (rdev: bigint) => `/sys/dev/block/${deviceNumber(rdev)}`

const text = (file: string) =>
  readFile(file, 'utf8').then(
    (content) => content.trim(),
    () => null,
  )
