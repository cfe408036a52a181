// The thread that reads bzip2 where the host has no program for it. The library asks for its input
// byte by byte, so the thread sleeps until the next piece is there.

import { type MessagePort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import bunzip from 'seek-bzip'

import type { Bz2Message } from './bz2-filter.ts'

const { port, answers } = workerData as { port: MessagePort; answers: Int32Array }
let answersSeen = 0

function ask(message: Bz2Message): Uint8Array | null {
  port.postMessage(message)
  Atomics.wait(answers, 0, answersSeen)
  answersSeen += 1
  return receiveMessageOnPort(port)?.message ?? null
}

let input: Uint8Array | null = new Uint8Array(0)
let inputAt = 0

function isAtEnd(): boolean {
  while (input !== null && inputAt === input.byteLength) {
    input = ask({ kind: 'want' })
    inputAt = 0
  }
  return input === null
}

function readByte(): number {
  if (isAtEnd()) throw new TypeError('it ends too early')
  return input?.[inputAt++] ?? 0
}

function read(into: Uint8Array, at: number, count: number): number {
  for (let index = 0; index < count; index++) into[at + index] = readByte()
  return count
}

const output = new Uint8Array(1_048_576)
let outputBytes = 0

function flush(): void {
  if (outputBytes > 0) ask({ kind: 'output', bytes: output.slice(0, outputBytes) })
  outputBytes = 0
}

function writeByte(byte: number): void {
  output[outputBytes++] = byte
  if (outputBytes === output.byteLength) flush()
}

try {
  bunzip.decode({ readByte, read, eof: isAtEnd }, { writeByte }, true)
  flush()
  // Nothing may follow, and the other side waits until its last piece is wanted.
  port.postMessage({ kind: isAtEnd() ? 'done' : 'failed', message: 'it goes on after its end' })
} catch (error) {
  port.postMessage({ kind: 'failed', message: (error as Error).message } satisfies Bz2Message)
}
