import { compressions } from '../domain/compression.ts'
import type { OffsetMeaning } from '../domain/eras.ts'
import type { StoredChunk } from '../domain/stored-chunk.ts'
import type { SpoolFile } from '../ports/spool.ts'

// A backup may have millions of chunks; their list waits in a spool, 48 bytes for each.

const md5At = 16
const compressionAt = 32
const suffixLengthAt = 33
const suffixAt = 34
/** What a chunk takes in a list. */
export const chunkRecordBytes = 48
const suffixLengthMax = chunkRecordBytes - suffixAt
const batchCount = 256

/** The chunks of one backup, in the order of its document. */
export type ChunkList = {
  readonly count: () => number
  /** The names must start with the list's prefix and `-`; at most 14 characters may follow. */
  readonly append: (chunks: readonly StoredChunk[]) => Promise<void>
  readonly clear: () => Promise<void>
  /** `offsetsAre` says what the offsets are that were appended; what comes out are always starts. */
  readonly read: (offsetsAre: OffsetMeaning) => AsyncGenerator<StoredChunk, void, undefined>
}

/** A list in `file`, of the backup whose object names start with `prefix`. */
export function chunkList(file: SpoolFile, prefix: string): ChunkList {
  const stemLength = prefix.length + 1
  return {
    count: () => file.sizeBytes / chunkRecordBytes,

    async append(chunks) {
      if (chunks.length === 0) return
      const records = Buffer.alloc(chunks.length * chunkRecordBytes)
      for (const [index, chunk] of chunks.entries()) {
        packChunk(
          chunk,
          stemLength,
          records.subarray(index * chunkRecordBytes, (index + 1) * chunkRecordBytes),
        )
      }
      await file.append(records)
    },

    clear: () => file.clear(),

    async *read(offsetsAre) {
      const records = Buffer.allocUnsafe(batchCount * chunkRecordBytes)
      for (let at = 0; at < file.sizeBytes; ) {
        const bytes = await file.read(at, records)
        for (let start = 0; start + chunkRecordBytes <= bytes; start += chunkRecordBytes) {
          yield unpackChunk(records.subarray(start, start + chunkRecordBytes), prefix, offsetsAre)
        }
        at += bytes
      }
    },
  }
}

export function packChunk(chunk: StoredChunk, stemLength: number, record: Buffer): void {
  const suffix = chunk.name.slice(stemLength)
  if (suffix.length > suffixLengthMax) throw new RangeError(`${chunk.name} is no chunk's name`)
  record.writeDoubleLE(chunk.offsetBytes, 0)
  record.writeDoubleLE(chunk.lengthBytes, 8)
  record.write(chunk.md5, md5At, 'hex')
  record[compressionAt] = compressions.indexOf(chunk.compression)
  record[suffixLengthAt] = suffix.length
  record.write(suffix, suffixAt, 'latin1')
}

export function unpackChunk(
  record: Buffer,
  prefix: string,
  offsetsAre: OffsetMeaning,
): StoredChunk {
  const offset = record.readDoubleLE(0)
  const lengthBytes = record.readDoubleLE(8)
  const suffixEnd = suffixAt + (record[suffixLengthAt] ?? 0)
  return {
    name: `${prefix}-${record.toString('latin1', suffixAt, suffixEnd)}`,
    offsetBytes: offsetsAre === 'start' ? offset : offset - lengthBytes,
    lengthBytes,
    compression: compressions[record[compressionAt] ?? 0] ?? 'none',
    md5: record.toString('hex', md5At, compressionAt),
  }
}
