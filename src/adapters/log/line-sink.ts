import { constants, write, writeSync } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import process from 'node:process'

import { delay, monotonicMs } from '../../lib/clock.ts'

/** Takes lines at once and writes them in order when it can. */
export interface LineSink extends AsyncDisposable {
  /** Never throws and never waits. Where too many lines wait already, this one is counted and lost. */
  write(line: string): void
  /** Resolves when nothing waits any more. */
  written(): Promise<void>
}

const waitingCharactersMax = 8 * 1024 * 1024
const fullPipeMs = 20
const standardError = 2
// What a log says is worth waiting for: nothing ends the wait but room in the pipe.
const never = new AbortController().signal

type Target = { readonly fd: number; readonly handle: FileHandle | null }

const stderrTarget: Target = { fd: standardError, handle: null }

export type LineSinkOptions = {
  /** The line that stands where `count` lines were lost. */
  readonly lostLine: (count: number) => string
  /** How often to look whether a log rotation moved the file away. */
  readonly rotationCheckMs?: number
}

/**
 * Writes to `file`, or to standard error where it is null or cannot be written. A file that was
 * moved away is opened anew. What waits when the process exits is written then.
 */
export function lineSink(
  file: string | null,
  { lostLine, rotationCheckMs = 5000 }: LineSinkOptions,
): LineSink {
  let waiting: string[] = []
  let waitingCharacters = 0
  let lostCount = 0
  let writing: Promise<void> | null = null
  let target: Target | null = null
  let checkedMs = monotonicMs()

  const add = (line: string) => {
    if (waitingCharacters + line.length > waitingCharactersMax) {
      lostCount += 1
      return
    }
    waiting.push(line)
    waitingCharacters += line.length + 1
    writing ??= writeWaiting()
  }
  const takeWaiting = (): string => {
    const lines = lostCount > 0 ? [...waiting, lostLine(lostCount)] : waiting
    waiting = []
    waitingCharacters = 0
    lostCount = 0
    return lines.map((line) => `${line}\n`).join('')
  }
  const writeWaiting = async () => {
    while (waiting.length > 0) {
      let count = 0
      try {
        target = await currentTarget()
        count = waiting.length
        await writeAll(target.fd, Buffer.from(takeWaiting()))
      } catch {
        lostCount += count // A full disk, or nobody reads any more: nothing to be done here.
      }
    }
    writing = null // In the same breath as the last look at `waiting`: no line falls in between.
  }
  const currentTarget = async (): Promise<Target> => {
    if (file === null) return stderrTarget
    const isDue = monotonicMs() - checkedMs >= rotationCheckMs
    if (target !== null && !isDue) return target
    checkedMs = monotonicMs()
    if (target !== null && (await isStillAt(file, target))) return target
    await target?.handle?.close()
    const opened = await openFile(file)
    if (opened.handle === null && target?.handle !== null) await sayOnStderr(file)
    return opened
  }
  const onExit = () => {
    try {
      if (waiting.length > 0) writeSync(target?.fd ?? standardError, takeWaiting())
    } catch {
      // There is no one left to tell.
    }
  }
  process.on('exit', onExit)

  const written = async () => {
    while (writing !== null) await writing
  }

  return {
    write: add,
    written,
    async [Symbol.asyncDispose]() {
      await written()
      process.off('exit', onExit)
      const { handle } = target ?? stderrTarget
      target = null
      await handle?.close()
    },
  }
}

async function openFile(file: string): Promise<Target> {
  try {
    const { O_APPEND, O_CREAT, O_WRONLY } = constants
    const handle = await open(file, O_APPEND | O_CREAT | O_WRONLY, 0o640)
    return { fd: handle.fd, handle }
  } catch {
    return stderrTarget
  }
}

async function sayOnStderr(file: string): Promise<void> {
  const text = `cannot write the log file ${file}; logging to standard error\n`
  await writeAll(standardError, Buffer.from(text)).catch(() => undefined)
}

async function isStillAt(file: string, { handle }: Target): Promise<boolean> {
  if (handle === null) return false
  try {
    const [there, ours] = await Promise.all([stat(file), handle.stat()])
    return there.dev === ours.dev && there.ino === ours.ino
  } catch {
    return false
  }
}

async function writeAll(fd: number, bytes: Buffer): Promise<void> {
  let offset = 0
  while (offset < bytes.byteLength) offset += await writeSome(fd, bytes, offset)
}

/** Resolves to how many bytes the pipe or file took; waits where a pipe is full. */
async function writeSome(fd: number, bytes: Buffer, offset: number): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  write(fd, bytes, offset, (error, count) => {
    if (error === null) resolve(count)
    else if (error.code === 'EAGAIN') resolve(0)
    else reject(error)
  })
  const count = await promise
  if (count === 0) await delay(fullPipeMs, never)
  return count
}
