import { hash } from 'node:crypto'

import type { ExtentTask, WindowTask } from '#src/domain/lane-tasks.ts'
import type { StoredChunk } from '#src/domain/stored-chunk.ts'
import type { ObjectStore } from '#src/ports/object-store.ts'

import { container, never } from './chains.ts'

export const windowBytes = 262_144
export const blockBytes = 4096

export function aWindow(fields: Partial<WindowTask> = {}): WindowTask {
  return {
    offsetBytes: 0,
    lengthBytes: windowBytes,
    container,
    prefix: 'backup',
    blockSizeBytes: blockBytes,
    compression: 'zlib',
    effort: 'compatible',
    verifiesUpload: true,
    zeroChunks: 'compat',
    parentDigests: null,
    ...fields,
  }
}

type ChunkTask = Extract<ExtentTask, { kind: 'chunk' }>

/** Fetches the whole of `chunk`. */
export function anExtent(chunk: StoredChunk, fields: Partial<ChunkTask> = {}): ExtentTask {
  const { offsetBytes, lengthBytes } = chunk
  return {
    kind: 'chunk',
    container,
    chunk,
    pieces: [{ offsetBytes, lengthBytes }],
    expected: null,
    bytesHeldMax: 64 * 1_048_576,
    volumeIsNew: false,
    ...fields,
  }
}

/** Bytes that get smaller, no two blocks of them alike. */
export function someBytes(bytes = windowBytes, seed = 1): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: bytes }, (_, at) => ((at >> 5) * seed + (at % 7)) % 251)
}

export function digestsOf(bytes: Uint8Array, block = blockBytes): Uint8Array {
  const digests: Buffer[] = []
  for (let at = 0; at < bytes.byteLength; at += block) {
    digests.push(hash('sha256', bytes.subarray(at, at + block), 'buffer'))
  }
  return new Uint8Array(Buffer.concat(digests))
}

/** The bytes of one object. */
export async function objectBytes(store: ObjectStore, name: string): Promise<Buffer> {
  const pieces: Buffer[] = []
  const sink = { start() {}, write: (piece: Uint8Array) => void pieces.push(Buffer.from(piece)) }
  await store.getObject({ container, name }, sink, never)
  return Buffer.concat(pieces)
}

export async function objectNames(store: ObjectStore): Promise<readonly string[]> {
  return (await store.listPage(container, '', '', never)).map(({ name }) => name)
}

/** Numbers of chunks from `first` on; `asked` tells what was asked for. */
export function numbersFrom(first: number) {
  const asked: number[] = []
  const numbers = (count: number) => {
    asked.push(count)
    return asked.slice(0, -1).reduce((sum, one) => sum + one, first)
  }
  return { asked, numbers }
}
