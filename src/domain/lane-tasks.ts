// What the main thread and a lane tell each other. All of it is plain data: it crosses threads.

import type { Compression } from './compression.ts'
import type { Extent } from './extents.ts'
import type { StoredChunk } from './stored-chunk.ts'

export type Effort = 'compatible' | 'fast'

/** A window of a volume that one lane backs up. */
export type WindowTask = Extent & {
  readonly container: string
  readonly prefix: string
  /** The unit of change tracking; a window starts at a multiple of it. */
  readonly blockSizeBytes: number
  readonly compression: Compression
  readonly effort: Effort
  /** Whether what was compressed is decompressed and compared before it is sent. */
  readonly verifiesUpload: boolean
  readonly zeroChunks: 'compat' | 'sparse'
  /** The parent's packed digests of this window, as far as it has them; null for a full backup. */
  readonly parentDigests: Uint8Array | null
}

/** An object that was put, and what a listing must say of it. */
export type PutChunk = StoredChunk & {
  readonly storedBytes: number
  /** Hex, of the stored bytes. */
  readonly storedMd5: string
}

/** `digests`: packed, of every block of the window. `chunks`: in volume order. */
export type WindowResult = { readonly digests: Uint8Array; readonly chunks: readonly PutChunk[] }

/** What the blocks of the volume must be once it is restored, from its newest sha256file. */
export type ExpectedBlocks = {
  readonly blockSizeBytes: number
  /** The block of the first digest. */
  readonly firstBlock: number
  /** Packed SHA-256. */
  readonly digests: Uint8Array
  /** Where the data of the volume ends: there a block may be short. */
  readonly endBytes: number
}

/** One object to fetch and the extents of the volume that are its own; or zeros to write. */
export type ExtentTask = {
  /** A larger chunk is written while it comes, not held in memory. */
  readonly bytesHeldMax: number
  /** Whether the volume was made for this restore, and so is likely to read as zeros. */
  readonly volumeIsNew: boolean
} & (
  | {
      readonly kind: 'chunk'
      readonly container: string
      readonly chunk: StoredChunk
      readonly pieces: readonly Extent[]
      /** Null where no sha256file can be used: then the chunk's own md5 decides. */
      readonly expected: ExpectedBlocks | null
    }
  | { readonly kind: 'zeros'; readonly extent: Extent }
)

export type ExtentResult = { readonly fetchedBytes: number }
