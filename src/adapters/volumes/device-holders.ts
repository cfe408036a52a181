import { readdir, readFile, stat } from 'node:fs/promises'

import { type DevicePath, deviceNumber } from './device-path.ts'

/** Where the kernel tells what is in use; a test gives a tree of its own. */
export type KernelFiles = { readonly proc: string; readonly sys: string }

const kernelFiles: KernelFiles = { proc: '/proc', sys: '/sys' }

/**
 * What uses this device, so that nobody may write to it: a mount, swap, md, LVM or device mapper on
 * the device or one of its partitions, or a loop device in front of it. Null where nothing does.
 * Rejects where the kernel does not even tell what is mounted.
 */
export async function deviceHolder(
  device: DevicePath,
  kernel: KernelFiles = kernelFiles,
): Promise<string | null> {
  const held = device.kind === 'block' ? await blockHolder(device, kernel) : null
  return held ?? (await swapOn(device, kernel)) ?? (await loopOn(device, kernel))
}

async function blockHolder(device: DevicePath, kernel: KernelFiles): Promise<string | null> {
  const number = deviceNumber(device.rdev)
  const folder = `${kernel.sys}/dev/block/${number}`
  const mounts = await readMounts(kernel)
  const parts = [{ name: '', number, folder }]
  for (const name of await list(folder)) {
    const partition = (await text(`${folder}/${name}/partition`))?.trim()
    const own = (await text(`${folder}/${name}/dev`))?.trim()
    if (partition !== undefined && own !== undefined) {
      parts.push({ name: `its partition ${name} is `, number: own, folder: `${folder}/${name}` })
    }
  }
  for (const { name, number, folder } of parts) {
    const mount = mounts.find((mount) => mount.number === number)
    if (mount !== undefined) return `${name}mounted on ${mount.on}`
    const [holder] = await list(`${folder}/holders`)
    if (holder === undefined) continue
    const mapped = (await text(`${kernel.sys}/block/${holder}/dm/name`))?.trim()
    return `${name}held by ${holder}${mapped === undefined ? '' : ` (${mapped})`}`
  }
  return null
}

/** Mounts by device number; where the file system hides it (btrfs), by the source it names. */
async function readMounts(kernel: KernelFiles): Promise<{ number: string; on: string }[]> {
  const mounts: { number: string; on: string }[] = []
  // Source: proc_pid_mountinfo(5): id, parent, major:minor, root, mount point, …, -, type, source.
  for (const line of (await readFile(`${kernel.proc}/self/mountinfo`, 'utf8')).split('\n')) {
    const fields = line.split(' ')
    const [, , number, , on] = fields
    if (number === undefined || on === undefined) continue
    mounts.push({ number, on: plainName(on) })
    const source = fields[fields.indexOf('-') + 2] ?? ''
    if (!source.startsWith('/dev/')) continue
    const stats = await identity(plainName(source))
    if (stats !== null) mounts.push({ number: deviceNumber(stats.rdev), on: plainName(on) })
  }
  return mounts
}

async function swapOn(device: DevicePath, kernel: KernelFiles): Promise<string | null> {
  const lines = ((await text(`${kernel.proc}/swaps`)) ?? '').split('\n').slice(1)
  for (const line of lines) {
    const name = plainName(line.split(/\s/)[0] ?? '')
    if (name !== '' && (await isSame(device, name))) return 'in use as swap'
    if (device.kind === 'block' && (await isPartitionOf(device, name, kernel))) {
      return `its partition ${name} is in use as swap`
    }
  }
  return null
}

async function isPartitionOf(device: DevicePath, name: string, kernel: KernelFiles) {
  const stats = name === '' ? null : await identity(name)
  if (stats === null || stats.rdev === 0n) return false
  const wholeDisk = `${kernel.sys}/dev/block/${deviceNumber(stats.rdev)}/../dev`
  return (await text(wholeDisk))?.trim() === deviceNumber(device.rdev)
}

async function loopOn(device: DevicePath, kernel: KernelFiles): Promise<string | null> {
  for (const name of await list(`${kernel.sys}/block`)) {
    if (!name.startsWith('loop')) continue
    const backing = (await text(`${kernel.sys}/block/${name}/loop/backing_file`))?.trimEnd()
    if (backing === undefined) continue
    if (backing === device.realPath || (await isSame(device, backing))) {
      return `in use behind /dev/${name}`
    }
  }
  return null
}

async function isSame(device: DevicePath, other: string): Promise<boolean> {
  const stats = await identity(other)
  if (stats === null) return false
  if (device.kind === 'block') return stats.isBlockDevice() && stats.rdev === device.rdev
  return stats.dev === device.dev && stats.ino === device.ino
}

const identity = (file: string) => stat(file, { bigint: true }).catch(() => null)

const list = (folder: string) => readdir(folder).catch(() => [])

const text = (file: string) => readFile(file, 'utf8').catch(() => undefined)

/** The kernel writes blanks and the like in names as octal. Source: proc_pid_mountinfo(5). */
function plainName(name: string): string {
  return name.replaceAll(/\\([0-7]{3})/g, (_, octal) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  )
}
