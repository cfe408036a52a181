import { crc32 } from 'node:zlib'

import type { SpoolFile } from '../ports/spool.ts'

// A log of what was done, in a kept spool file: length, CRC-32 and bytes of each record. What a crash has
// cut off, or the host's power has lost, ends it. Each CRC goes on from the one before: what lay behind
// such an end never counts again, however the log goes on.

const frameBytes = 8
const recordBytesMax = 64 * 1_048_576
const pieceBytes = 262_144

export type RecordLog = {
  /** The first record, as text; null where the log is empty. */
  readonly header: string | null
  /** Resolves when the record is in the file; appends are written in the order of the calls. */
  readonly append: (record: Uint8Array) => Promise<void>
  /** The records after the header, in the order they were appended; each is valid until the next. */
  readonly read: () => AsyncGenerator<Buffer, void, undefined>
  /** Forgets everything, and begins anew with this header. */
  readonly restart: (header: string) => Promise<void>
  /** Resolves when everything appended is on stable storage. */
  readonly sync: () => Promise<void>
}

/** Opens the log in `file`, which is the log's alone. Rejects with what the spool rejects with. */
export async function openRecordLog(file: SpoolFile): Promise<RecordLog> {
  let header: string | null = null
  let endBytes = 0
  let lastCheck = 0
  for await (const { record, end, check } of framed(file, Number.POSITIVE_INFINITY)) {
    header ??= record.toString()
    endBytes = end
    lastCheck = check
  }
  let writing: Promise<void> = Promise.resolve()

  function append(record: Uint8Array): Promise<void> {
    const frame = Buffer.allocUnsafe(frameBytes + record.byteLength)
    frame.writeUInt32LE(record.byteLength, 0)
    frame.set(record, frameBytes)
    const written = writing.then(async () => {
      const check = crc32(frame.subarray(frameBytes), lastCheck)
      frame.writeUInt32LE(check, 4)
      await file.write(endBytes, frame)
      endBytes += frame.byteLength
      lastCheck = check
    })
    writing = written.catch(() => {}) // Whoever appended is told.
    return written
  }

  return {
    get header() {
      return header
    },
    append,
    async *read() {
      let isHeader = true
      for await (const { record } of framed(file, endBytes)) {
        if (!isHeader) yield record
        isHeader = false
      }
    },
    async restart(text) {
      await file.clear()
      endBytes = 0
      lastCheck = 0
      header = text
      await append(Buffer.from(text))
    },
    sync: () => file.sync(),
  }
}

type Framed = { readonly record: Buffer; readonly end: number; readonly check: number }

/** The whole records of the file up to `endBytes`, or to the first that is damaged. */
async function* framed(file: SpoolFile, endBytes: number): AsyncGenerator<Framed, void, undefined> {
  const end = Math.min(file.sizeBytes, endBytes)
  let buffer = Buffer.allocUnsafe(pieceBytes)
  let at = 0
  let lastCheck = 0

  /** The bytes from `at` on, as many as there are of `bytes`. */
  let bufferAt = 0
  let held = 0
  async function look(bytes: number): Promise<Buffer> {
    if (at + bytes > bufferAt + held) {
      if (bytes > buffer.byteLength) buffer = Buffer.allocUnsafe(bytes)
      bufferAt = at
      held = await file.read(at, buffer.subarray(0, Math.min(buffer.byteLength, end - at)))
    }
    const from = at - bufferAt
    return buffer.subarray(from, Math.min(from + bytes, held))
  }

  while (at + frameBytes <= end) {
    const frame = await look(frameBytes)
    if (frame.byteLength < frameBytes) return
    const [length, check] = [frame.readUInt32LE(0), frame.readUInt32LE(4)]
    if (length === 0 || length > recordBytesMax || at + frameBytes + length > end) return
    const record = (await look(frameBytes + length)).subarray(frameBytes)
    if (record.byteLength < length || crc32(record, lastCheck) !== check) return
    lastCheck = check
    at += frameBytes + length
    yield { record, end: at, check }
  }
}
