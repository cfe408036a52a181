import type { Compression } from './compression.ts'
import { AgentError } from './errors.ts'
import type { Effort } from './lane-tasks.ts'

const mib = 1_048_576

// Where what is configured does not fit memory, chunks get the size of Cinder's default object: so one
// job stays well below 400 MiB. Source: cinder/backup/drivers/swift.py, backup_swift_object_size.
const usualChunkBytes = 50 * mib

/** How one backup is to be made. */
export type BackupPlan = {
  readonly container: string
  /** Every object's name starts with it. */
  readonly prefix: string
  /** The unit of reading, a multiple of the block. */
  readonly chunkSizeBytes: number
  /** The unit of change tracking. */
  readonly blockSizeBytes: number
  readonly compression: Compression
  readonly effort: Effort
  /** Whole chunks in flight; small ones count by their bytes. */
  readonly uploadsMax: number
  /** Whether a full backup writes its all-zero chunks (`compat`) or leaves them out (`sparse`). */
  readonly zeroChunks: 'compat' | 'sparse'
  /** Whether what was compressed is decompressed and compared before it is sent. */
  readonly verifiesUpload: boolean
}

/** The largest chunk that is ever held in memory (decision D10). */
export function chunkBytesHeldMax(limits: {
  readonly memoryMax: number
  readonly workers: number
}): number {
  return Math.floor(limits.memoryMax / (2 * limits.workers))
}

/**
 * The chunk size to write with: what is configured, made smaller where it would not fit our memory,
 * and always a multiple of the block. Throws CONFIGURATION_INVALID where there is none.
 */
export function chunkSizeFor(sizes: {
  readonly objectSizeBytes: number
  readonly blockSizeBytes: number
  readonly memoryMax: number
  readonly workers: number
}): number {
  const { objectSizeBytes, blockSizeBytes } = sizes
  if (blockSizeBytes < 1 || objectSizeBytes < 1 || objectSizeBytes % blockSizeBytes !== 0) {
    throw new AgentError(
      'CONFIGURATION_INVALID',
      `the object size of ${objectSizeBytes} bytes is no multiple of the block size of ` +
        `${blockSizeBytes}; set one to fit the other`,
      { objectSizeBytes, blockSizeBytes },
    )
  }
  const held = chunkBytesHeldMax(sizes)
  const smaller = Math.min(held, Math.max(usualChunkBytes, blockSizeBytes))
  const most = objectSizeBytes <= held ? objectSizeBytes : smaller
  if (blockSizeBytes > most) {
    throw new AgentError(
      'CONFIGURATION_INVALID',
      `a block of ${blockSizeBytes} bytes is larger than the ${most} bytes that a chunk may have; ` +
        'raise memory_max or lower the block size',
      { blockSizeBytes, chunkSizeBytesMax: most },
    )
  }
  return most - (most % blockSizeBytes)
}

/**
 * Whether what was compressed is decompressed and compared before it is sent. By itself only where that
 * costs at most a tenth, and that is nowhere: decision record 0016 has the figures.
 */
export function verifiesUpload(wanted: 'auto' | 'on' | 'off'): boolean {
  return wanted === 'on'
}

// A digest's line in the sha256file, and room for everything else in it.
const digestLineBytes = 72
const frameBytesMax = 8192

/**
 * Throws OBJECT_TOO_LARGE where the digests of the volume would not fit one object of the store, and
 * says the block size that would.
 */
export function checkSha256fileFits(sizes: {
  readonly volumeBytes: number
  readonly blockSizeBytes: number
  readonly objectBytesMax: number
}): void {
  const { volumeBytes, blockSizeBytes, objectBytesMax } = sizes
  const fits = (blockBytes: number) =>
    Math.ceil(volumeBytes / blockBytes) * digestLineBytes + frameBytesMax <= objectBytesMax
  if (fits(blockSizeBytes)) return
  let fitting = blockSizeBytes
  while (!fits(fitting) && fitting < volumeBytes) fitting *= 2
  throw new AgentError(
    'OBJECT_TOO_LARGE',
    `the sha256file of ${volumeBytes} bytes in blocks of ${blockSizeBytes} exceeds the store's ` +
      `limit of ${objectBytesMax} bytes for one object; a block size of ${fitting} would fit`,
    { volumeBytes, blockSizeBytes, objectBytesMax, fittingBlockSizeBytes: fitting },
  )
}
