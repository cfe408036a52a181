// A real block device that fails where a test says: nbdkit serves a file, nbdfuse shows it as a file,
// and a loop device stands before that. The kernel and our reads between them are as always.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'

import { delay } from '#src/lib/clock.ts'

import { attachLoop } from './loop-device.ts'

const run = promisify(execFile)
const nothing = () => {}

export type FaultyDevice = AsyncDisposable & {
  /** `/dev/loop7` */
  readonly path: string
  /** From now on these parts cannot be read. In whole pages, for that is how the kernel asks. */
  failReads(ranges: readonly Range[]): Promise<void>
  /** From now on these parts cannot be written. */
  failWrites(ranges: readonly Range[]): Promise<void>
  /** Kills the server behind the device: it is as a disk whose cable was cut. */
  vanish(): Promise<void>
}

type Range = { readonly offsetBytes: number; readonly lengthBytes: number }

/** A device that holds `bytes`, gone when disposed. Needs root, nbdkit, nbdfuse and loop devices. */
export async function faultyDevice(bytes: Uint8Array): Promise<FaultyDevice> {
  await using stack = new AsyncDisposableStack()
  const folder = await mkdtemp(path.join(tmpdir(), 'faulty-device-'))
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  const at = (name: string) => path.join(folder, name)
  const list = async (name: string, ranges: readonly Range[]) => {
    const lines = ranges.map(({ offsetBytes, lengthBytes }) => `${offsetBytes} ${lengthBytes}\n`)
    await writeFile(at('new'), lines.join(''))
    await rename(at('new'), at(name)) // A reader sees the one or the other.
  }
  await writeFile(at('data'), bytes)
  await list('unreadable', [])
  await list('unwritable', [])
  await mkdir(at('mount'))

  // A bridge whose server is gone may leave its mount behind, and one that is gone needs no unmounting.
  stack.defer(() => run('umount', ['--lazy', at('mount')]).then(nothing, nothing))
  const server = stack.use(startServer(folder))
  await thereIs(at('socket'), server.child)
  const bridge = stack.use(
    program('nbdfuse', [at('mount/disk'), '--unix', at('socket')], 'SIGTERM'),
  )
  await thereIs(at('mount/disk'), bridge.child)
  const device = stack.use(await attachLoop(at('mount/disk')))

  const all = stack.move()
  return {
    path: device.path,
    failReads: (ranges) => list('unreadable', ranges),
    failWrites: (ranges) => list('unwritable', ranges),
    async vanish() {
      await server[Symbol.asyncDispose]()
    },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  }
}

/** nbdkit calls each of these with the handle, then count and offset. */
function startServer(folder: string) {
  const refuseIn = (list: string) => `
    while read -r from length; do
      if [ "$4" -lt $((from + length)) ] && [ "$from" -lt $(($4 + $3)) ]; then
        echo "EIO bad sectors" >&2
        exit 1
      fi
    done <'${folder}/${list}'`
  const dd = `exec dd status=none conv=notrunc`
  const calls = {
    get_size: `stat -c %s '${folder}/data'`,
    pread: `${refuseIn('unreadable')}
      ${dd} if='${folder}/data' iflag=skip_bytes,count_bytes skip="$4" count="$3"`,
    can_write: 'exit 0',
    pwrite: `${refuseIn('unwritable')}
      ${dd} of='${folder}/data' oflag=seek_bytes seek="$4"`,
    can_flush: 'exit 0',
    flush: 'exit 0',
  }
  const scripts = Object.entries(calls).map(([call, script]) => `${call}=${script}`)
  const options = ['--foreground', '--unix', `${folder}/socket`, '--log', 'null']
  return program('nbdkit', [...options, 'eval', ...scripts], 'SIGKILL')
}

type Program = AsyncDisposable & { readonly child: ChildProcess }

function program(name: string, args: readonly string[], signal: NodeJS.Signals): Program {
  // What it says of the faults that were asked for is of no interest.
  const child = spawn(name, args, { stdio: 'ignore' })
  const ended = once(child, 'exit').catch((error: unknown) => error)
  return {
    child,
    async [Symbol.asyncDispose]() {
      child.kill(signal)
      await ended
    },
  }
}

async function thereIs(file: string, child: ChildProcess): Promise<void> {
  const signal = AbortSignal.timeout(10_000)
  while ((await stat(file).catch(() => null)) === null) {
    if (child.exitCode !== null || child.pid === undefined) {
      throw new Error(
        'these tests need nbdkit and nbdfuse (Debian: nbdkit, libnbd-bin, fuse3) and /dev/fuse: ' +
          `${child.spawnfile} ended before ${file} was there`,
      )
    }
    await delay(5, signal)
  }
}
