import { execFile } from 'node:child_process'
import { mkdtemp, readFile, realpath, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'

import { delay } from '#src/lib/clock.ts'

const run = promisify(execFile)

export type LoopDevice = AsyncDisposable & {
  /** `/dev/loop7` */
  readonly path: string
  /** The file behind it. */
  readonly file: string
}

/**
 * A real block device of `sizeBytes` zeros, gone when disposed. Needs root and the kernel's loop
 * devices; fails where they are not to be had. The kernel hands out free ones, so that any number of
 * tests may ask at the same time.
 */
export async function loopDevice(
  sizeBytes: number,
  { readOnly = false } = {},
): Promise<LoopDevice> {
  const folder = await mkdtemp(path.join(tmpdir(), 'loop-device-'))
  const file = path.join(folder, 'backing')
  try {
    await writeFile(file, '')
    await truncate(file, sizeBytes)
    const device = await attachLoop(file, { readOnly })
    return {
      path: device.path,
      file,
      async [Symbol.asyncDispose]() {
        await device[Symbol.asyncDispose]()
        await rm(folder, { recursive: true, force: true })
      },
    }
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw error
  }
}

/** Puts a loop device in front of a file that is there. */
export async function attachLoop(
  file: string,
  { readOnly = false, partitions = false } = {},
): Promise<LoopDevice> {
  const flags = [...(readOnly ? ['--read-only'] : []), ...(partitions ? ['--partscan'] : [])]
  const target = await realpath(file) // Now: the file system may be gone when the device is.
  const device = await losetup('--find', '--show', ...flags, file)
  let isAttached = true
  return {
    path: device,
    file,
    async [Symbol.asyncDispose]() {
      if (!isAttached) return
      isAttached = false
      await losetup('--detach', device)
      await detached(device, target)
    },
  }
}

/** Tells the loop device that the file behind it has another size. */
export async function refreshLoopSize(device: string): Promise<void> {
  await losetup('--set-capacity', device)
}

/** The kernel lets go of the file when the last one who looks at the device closes it. */
async function detached(device: string, file: string): Promise<void> {
  const signal = AbortSignal.timeout(10_000)
  const backing = `/sys/block/${path.basename(device)}/loop/backing_file`
  const isOurs = async () =>
    (await readFile(backing, 'utf8').catch(() => '')).trimEnd().startsWith(file)
  while (await isOurs()) await delay(5, signal)
}

async function losetup(...args: string[]): Promise<string> {
  try {
    const { stdout } = await run('/usr/sbin/losetup', args)
    return stdout.trim()
  } catch (cause) {
    const { stderr = '' } = cause as { stderr?: string }
    throw new Error(
      `these tests need real loop devices (root, /dev/loop-control, losetup of util-linux), and ` +
        `losetup ${args.join(' ')} said: ${stderr.trim() || String(cause)}`,
      { cause },
    )
  }
}
