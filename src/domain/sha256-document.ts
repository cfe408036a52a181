import { type DocumentHeader, documentFrame, formatVersion } from './document-header.ts'
import { documentScanner, manifestInvalid } from './document-scanner.ts'
import { digestBytes } from './extents.ts'
import { readHex, writeHex } from './hex.ts'
import type { Json } from './json.ts'

// The list of a volume's block digests. Source: cinder/backup/chunkeddriver.py, `_write_sha256file`.

const ascii = new TextEncoder()
const quote = 0x22
const lineStart = ascii.encode('    "')
const lineEnd = ascii.encode('",\n')
const lineBytes = lineStart.byteLength + 2 * digestBytes + lineEnd.byteLength
const separatorBytes = 2 // Comma and line feed, which the last line lacks.

/** The parts of a sha256file around the digests, which `sha256Lines` writes. */
export function sha256Frame(
  header: DocumentHeader,
  blockSizeBytes: number,
  digestCount: number,
): { readonly head: Uint8Array; readonly tail: Uint8Array; readonly sizeBytes: number } {
  const members = { ...header, chunk_size: blockSizeBytes, version: formatVersion }
  const frame = documentFrame(members, 'sha256s')
  const isEmpty = digestCount === 0
  const head = ascii.encode(`${frame.head}${isEmpty ? '[]' : '[\n'}`)
  const tail = ascii.encode(`${isEmpty ? '' : '\n  ]'}${frame.tail}`)
  const linesBytes = isEmpty ? 0 : digestCount * lineBytes - separatorBytes
  return { head, tail, sizeBytes: head.byteLength + linesBytes + tail.byteLength }
}

/** The lines of packed digests; the last of a document ends without comma and line feed. */
export function sha256Lines(digests: Uint8Array, isLast: boolean): Uint8Array {
  const count = digests.byteLength / digestBytes
  const lines = new Uint8Array(count * lineBytes)
  let at = 0
  for (let from = 0; from < digests.byteLength; from += digestBytes) {
    lines.set(lineStart, at)
    at = writeHex(digests, from, from + digestBytes, lines, at + lineStart.byteLength)
    lines.set(lineEnd, at)
    at += lineEnd.byteLength
  }
  return isLast ? lines.subarray(0, at - separatorBytes) : lines
}

export type Sha256Reader = {
  readonly write: (piece: Uint8Array) => void
  /** The packed digests that were complete since the last call; valid until the next `write`. */
  readonly taken: () => Uint8Array
  readonly end: () => void
  /** What the whole document says; throws MANIFEST_INVALID where it is not to be trusted. */
  readonly result: () => { readonly blockSizeBytes: number; readonly digestCount: number }
}

/**
 * Reads the sha256file named `document` of a backup as its bytes come. Throws MANIFEST_INVALID where
 * it is another backup's or makes no sense.
 */
export function sha256Reader(
  document: string,
  expected: { readonly backupId: string; readonly volumeId: string },
): Sha256Reader {
  const members = new Map<string, Json>()
  let packed = new Uint8Array(digestBytes * 1024)
  let packedBytes = 0
  let digestCount = 0
  let hasList = false

  function element(bytes: Uint8Array, start: number, end: number): void {
    if (packedBytes === packed.byteLength) {
      const grown = new Uint8Array(2 * packedBytes)
      grown.set(packed)
      packed = grown
    }
    const into = packed.subarray(packedBytes, packedBytes + digestBytes)
    const isText = bytes[start] === quote && end - start === 2 * digestBytes + 2
    if (!isText || !readHex(bytes, start + 1, into)) {
      throw manifestInvalid(document, `digest ${digestCount} is not 64 characters of hex`)
    }
    packedBytes += digestBytes
    digestCount += 1
  }

  const scanner = documentScanner(document, 'sha256s', {
    member: (key, value) => members.set(key, value),
    list: () => {
      hasList = true
    },
    element,
  })

  return {
    write: scanner.write,
    taken() {
      const digests = packed.subarray(0, packedBytes)
      packedBytes = 0
      return digests
    },
    end: scanner.end,
    result() {
      checkIdentity(document, members, expected)
      if (!hasList) throw manifestInvalid(document, 'has no sha256s')
      const blockSizeBytes = members.get('chunk_size')
      if (!isCount(blockSizeBytes) || blockSizeBytes === 0) {
        throw manifestInvalid(document, 'has a chunk_size that is no positive number')
      }
      if (digestCount * blockSizeBytes > Number.MAX_SAFE_INTEGER) {
        throw manifestInvalid(
          document,
          `has ${digestCount} digests of ${blockSizeBytes} bytes each`,
        )
      }
      return { blockSizeBytes, digestCount }
    },
  }
}

/** Whether it is a number of bytes that arithmetic can be trusted with. */
export function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

/** Throws MANIFEST_INVALID unless the document is of this version and of this backup. */
export function checkIdentity(
  document: string,
  members: ReadonlyMap<string, Json>,
  expected: { readonly backupId: string; readonly volumeId: string },
): void {
  const check = (key: string, wanted: string) => {
    const found = members.get(key)
    if (found === wanted) return
    const said = found === undefined ? 'nothing' : JSON.stringify(found).slice(0, 100)
    throw manifestInvalid(document, `says ${said} for ${key}, not "${wanted}"`)
  }
  check('version', formatVersion)
  check('backup_id', expected.backupId)
  check('volume_id', expected.volumeId)
}
