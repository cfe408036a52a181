import type { Compression } from './compression.ts'

/** One object of a backup and what it holds. */
export type StoredChunk = {
  readonly name: string
  readonly offsetBytes: number
  /** Of what was on the volume, before compression. */
  readonly lengthBytes: number
  readonly compression: Compression
  /** Hex, of the bytes as they were on the volume (before Liberty: as they are stored). */
  readonly md5: string
}

/** What a chunk of so many bytes may take where it is stored, compressed in vain. */
export function storedBytesMax(plainBytes: number): number {
  return Math.ceil(plainBytes * 1.02) + 65_536
}
