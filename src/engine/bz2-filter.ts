import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { access, constants } from 'node:fs/promises'
import path from 'node:path'
import process from 'node:process'
import { MessageChannel, Worker } from 'node:worker_threads'

import { AgentError } from '../domain/errors.ts'
import { type Filter, type OpenFilter, type Output, pump, rejectionOf } from './filter.ts'

// Node has no bzip2. A program of the host writes it, and reads it where there is one; without it a
// library reads, slower, in a thread of its own.

export type Bz2Program = { readonly file: string; readonly args: readonly string[] }

const programs = [
  { name: 'lbzip2', args: ['-n', '1'] }, // It would take every core for one chunk.
  { name: 'bzip2', args: [] },
]

/** The program of this host that knows bzip2, or null. */
export async function findBz2Program(): Promise<Bz2Program | null> {
  const folders = (process.env['PATH'] ?? '').split(path.delimiter)
  for (const { name, args } of programs) {
    for (const folder of folders) {
      const file = path.join(folder, name)
      if (path.isAbsolute(file) && (await isExecutable(file))) return { file, args }
    }
  }
  return null
}

async function isExecutable(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Compresses as Cinder does, with level 9. Source: Lib/bz2.py, `compress`. */
export function bz2Encoder({ file, args }: Bz2Program): OpenFilter {
  return childFilter(file, [...args, '-9', '-c'])
}

/** Decompresses one stream or several, with the program where there is one. */
export function bz2Decoder(program: Bz2Program | null): OpenFilter {
  return program === null ? workerFilter : childFilter(program.file, [...program.args, '-d', '-c'])
}

const complaintLengthMax = 500

function childFilter(file: string, args: readonly string[]): OpenFilter {
  return (output, signal) => {
    const child = spawn(file, args, { env: {}, stdio: 'pipe' }) // The environment may hold options.
    let complaint = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      complaint = (complaint + text).slice(0, complaintLengthMax)
    })
    child.stdin.on('error', () => {}) // It ended early; its exit says why.
    const onAbort = () => child.kill('SIGKILL')
    signal.addEventListener('abort', onAbort)
    const closed = once(child, 'close')
      .catch((cause: Error) => {
        throw new AgentError('COMPRESSION_UNSUPPORTED', `cannot run ${file}: ${cause.message}`)
      })
      .finally(() => signal.removeEventListener('abort', onAbort))
    const pumped = Promise.all([pump(child.stdout, output), closed]).then(([, [code]]) => {
      signal.throwIfAborted()
      if (code !== 0 || complaint !== '') {
        throw new Error(`${path.basename(file)} ended with ${code}: ${complaint.trim()}`)
      }
    })
    const failed = rejectionOf(pumped, signal)

    return {
      async write(piece) {
        signal.throwIfAborted()
        const taken = new Promise<void>((resolve) => child.stdin.write(piece, () => resolve()))
        await Promise.race([taken, failed])
        return piece.byteLength
      },
      async finish() {
        child.stdin.end()
        await Promise.race([pumped, failed])
      },
      async [Symbol.asyncDispose]() {
        child.kill('SIGKILL')
        await Promise.allSettled([pumped, closed])
      },
    }
  }
}

/** What the thread says; each is answered: with input (null: there is no more), or that it may go on. */
export type Bz2Message =
  | { readonly kind: 'want' }
  | { readonly kind: 'output'; readonly bytes: Uint8Array }
  | { readonly kind: 'done' }
  | { readonly kind: 'failed'; readonly message: string }

function workerFilter(output: Output, signal: AbortSignal): Filter {
  const { port1: port, port2 } = new MessageChannel()
  const answers = new Int32Array(new SharedArrayBuffer(4))
  const worker = new Worker(new URL('./bz2-worker.ts', import.meta.url), {
    workerData: { port: port2, answers },
    transferList: [port2],
  })
  let wanted = Promise.withResolvers<void>()
  const done = Promise.withResolvers<void>()
  const failed = rejectionOf(done.promise, signal)

  function answer(input: Uint8Array | null): void {
    port.postMessage(input)
    Atomics.add(answers, 0, 1)
    Atomics.notify(answers, 0)
  }

  async function hear(message: Bz2Message): Promise<void> {
    if (message.kind === 'want') return wanted.resolve()
    if (message.kind === 'done') return done.resolve()
    if (message.kind === 'failed') throw new Error(message.message)
    await output(message.bytes)
    answer(null)
  }

  const onAbort = () => done.reject(signal.reason)
  signal.addEventListener('abort', onAbort)
  if (signal.aborted) onAbort()
  port.on('message', (message: Bz2Message) => void hear(message).catch(done.reject))
  worker.on('error', done.reject)
  worker.on('exit', () => done.reject(new AgentError('ASSERTION_FAILED', 'the bzip2 thread ended')))

  async function give(input: Uint8Array | null): Promise<void> {
    await Promise.race([wanted.promise, failed])
    wanted = Promise.withResolvers()
    answer(input)
  }

  return {
    async write(piece) {
      await give(piece)
      return piece.byteLength
    },
    async finish() {
      await give(null)
      await Promise.race([done.promise, failed])
    },
    async [Symbol.asyncDispose]() {
      signal.removeEventListener('abort', onAbort)
      await worker.terminate()
      port.close()
    },
  }
}
