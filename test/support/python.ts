import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { createInterface } from 'node:readline'

// The real peers are Python programs. They run on Debian's own python, whatever is on the PATH, and
// import nothing of ours.

const python = '/usr/bin/python3'
const folder = path.join(import.meta.dirname, 'python')
const errorCharsMax = 4000

const env = {
  PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: process.env['HOME'] ?? '/',
  LC_ALL: 'C.UTF-8',
  PYTHONDONTWRITEBYTECODE: '1',
}

type PeerOptions = {
  readonly args?: readonly string[]
  /** Given to the program as JSON on its standard input. */
  readonly input?: unknown
  readonly timeoutMs?: number
}

/** Runs `test/support/python/<name>` to its end; resolves to the JSON that it printed. */
export async function runPeer(
  name: string,
  { args = [], input, timeoutMs = 120_000 }: PeerOptions = {},
): Promise<unknown> {
  await using peer = startPeer(name, args)
  peer.end(input === undefined ? '' : JSON.stringify(input))
  const lines: string[] = []
  const signal = AbortSignal.timeout(timeoutMs)
  for (let line = await peer.line(signal); line !== null; line = await peer.line(signal)) {
    lines.push(line)
  }
  return JSON.parse(lines.join('\n'))
}

/** A running peer: one line in, one line out. Killed, by its own pid, when disposed. */
export type Peer = AsyncDisposable & {
  send(line: string): void
  /** The next line; null at its end in good order. Rejects with what it said where it failed. */
  line(signal: AbortSignal): Promise<string | null>
  /** No more input, but this. */
  end(lastInput?: string): void
}

export function startPeer(name: string, args: readonly string[]): Peer {
  const child = spawn(python, [path.join(folder, name), ...args], { env })
  child.stdin.on('error', () => {}) // It has died: its exit code tells.
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-errorCharsMax)
  })
  const closed = once(child, 'close').then(([code, signal]) => {
    if (code !== 0) throw new Error(`${name} ended with ${code ?? signal}: ${said}`)
  })
  closed.catch(() => {}) // Told to whoever asks for a line.
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()

  return {
    send(line) {
      child.stdin.write(`${line}\n`)
    },
    async line(signal) {
      const next = await orAborted(lines.next(), signal, () => `${name} said nothing more: ${said}`)
      if (next.done !== true) return next.value
      await closed
      return null
    },
    end(lastInput = '') {
      child.stdin.end(lastInput)
    },
    async [Symbol.asyncDispose]() {
      await killed(child)
    },
  }
}

async function killed(child: ChildProcessWithoutNullStreams): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}

/** `promise`, or a rejection that says `why` when the signal aborts first. */
async function orAborted<T>(
  promise: Promise<T>,
  signal: AbortSignal,
  why: () => string,
): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const onAbort = () => reject(new Error(why(), { cause: signal.reason }))
  if (signal.aborted) onAbort()
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
