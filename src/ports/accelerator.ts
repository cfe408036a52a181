import type { DataRun } from './volumes.ts'

/**
 * Compresses `plain` into `into` and returns how many bytes it took, or 0 where they do not fit, or only
 * just: a library may want some room beyond its end. Both buffers stay the caller's. Synchronous: meant for lanes, never for the main thread.
 */
export type Compress = (plain: Uint8Array, into: Uint8Array, level: number) => number

/**
 * Undoes it: returns how many bytes `into` got, or -1 where `stored` is not exactly one whole stream
 * (bz2, zstd: one or several) that fits `into`.
 */
export type Decompress = (stored: Uint8Array, into: Uint8Array) => number

export type NativeCodec = { readonly compress: Compress; readonly decompress: Decompress }

/**
 * What native code does faster than the runtime, or what the runtime cannot do at all. Optional: where
 * there is none, the engine has another way with the same results. Everything is synchronous, works
 * on the caller's memory, may be called from any thread, and throws TypeError where it is called
 * wrongly. `test/contracts/accelerator.ts` is the executable form.
 */
export interface Accelerator {
  /** What there is, for one line of the log: `libdeflate 1.14`, `sha256 two lanes` … */
  readonly features: readonly string[]

  /** Levels 1 to 12. Null where the library is not on this host, as in the next ones. */
  readonly zlib: NativeCodec | null
  /** Levels 1 to 3: several times faster than `zlib`, in the same format, 7 to 10 % larger. */
  readonly fastZlib: { readonly compress: Compress } | null
  /** Levels 1 to 9. */
  readonly bz2: NativeCodec | null
  /** Levels 1 to 19; one frame that says how long its content is. */
  readonly zstd: NativeCodec | null

  /**
   * Writes the SHA-256 of each block of `data` (the last may be short) to `into`, 32 bytes each, and
   * returns how many of the blocks are all zeros.
   */
  sha256Blocks(data: Uint8Array, blockBytes: number, into: Uint8Array): number

  /** Whether there is nothing but zeros. */
  isZero(data: Uint8Array): boolean

  /** The MD5 of each of the two, in hex, in less time than one after the other. */
  md5Pair(one: Uint8Array, other: Uint8Array): readonly [string, string]

  /** Makes `memory` read as zeros; its whole pages go back to the system until they are written to again. */
  giveBack(memory: Uint8Array): void

  /**
   * The first run of data of the open file `fd` at or after `offset` (SEEK_DATA, SEEK_HOLE): before
   * its start everything reads as zeros. Null where none is left, undefined where the file does not
   * tell (a device, a file system without holes).
   */
  dataRun(fd: number, offset: number): DataRun | null | undefined

  /**
   * Makes a part of an open file or block device read as zeros and gives its room back, without
   * writing it (FALLOC_FL_PUNCH_HOLE). False where that cannot be had; then nothing has changed.
   */
  punchHole(fd: number, offset: number, length: number): boolean

  /** The size of an open block device in bytes (BLKGETSIZE64). Throws where it is none. */
  deviceSize(fd: number): number
}
