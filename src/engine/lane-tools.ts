import { storedBytesMax } from '../domain/stored-chunk.ts'
import { pageBuffer } from '../lib/page-buffer.ts'
import type { Accelerator } from '../ports/accelerator.ts'
import { type ZeroBodies, zeroBodies } from './zero-bodies.ts'
import { type ZeroChunks, zeroChunks } from './zero-chunks.ts'

/** What one lane works with. Not to be shared: its buffers are used by one task at a time. */
export type LaneTools = {
  readonly accelerator: Accelerator | null
  readonly buffers: LaneBuffers
  readonly zeroChunks: ZeroChunks
  readonly zeroBodies: ZeroBodies
}

/** Large buffers that are kept for the next task: fresh pages cost more than what is done with them. */
export type LaneBuffers = {
  /** What was on the volume, or will be. */
  readonly plain: (bytes: number) => Buffer
  /** What is stored of so many plain bytes. */
  readonly stored: (plainBytes: number) => Buffer
  /** What was decompressed to be compared. */
  readonly check: (bytes: number) => Buffer
  /** Gives back most of what was stored; nobody may use `stored` by then. */
  readonly trim: () => void
  /** Gives back for a while what was on the volume; nobody may use `plain` by then. */
  readonly restPlain: () => void
  /** Gives all of it back for a while; nobody may use any buffer by then. */
  readonly rest: () => void
  readonly drop: () => void
}

export function laneTools(accelerator: Accelerator | null): LaneTools {
  return {
    accelerator,
    buffers: laneBuffers(accelerator),
    zeroChunks: zeroChunks(),
    zeroBodies: zeroBodies(),
  }
}

/** Of the room for what is stored: what nearly every chunk needs. More is dear while nobody uses it. */
const storedKeptPart = 8

function laneBuffers(accelerator: Accelerator | null): LaneBuffers {
  const held = new Map<string, Buffer>()

  function use(name: string, bytes: number): Buffer {
    let buffer = held.get(name)
    if (buffer === undefined || buffer.byteLength < bytes) {
      held.delete(name)
      buffer = pageBuffer(bytes)
      held.set(name, buffer)
    }
    return buffer.subarray(0, bytes)
  }

  return {
    plain: (bytes) => use('plain', bytes),
    stored: (bytes) => use('stored', storedBytesMax(bytes)),
    check: (bytes) => use('check', bytes),
    trim() {
      const stored = held.get('stored')
      if (stored !== undefined)
        accelerator?.giveBack(stored.subarray(stored.byteLength / storedKeptPart))
    },
    restPlain() {
      const plain = held.get('plain')
      if (plain !== undefined) accelerator?.giveBack(plain)
    },
    rest() {
      for (const buffer of held.values()) accelerator?.giveBack(buffer)
    },
    drop: () => held.clear(),
  }
}
