import { parseCompression } from './compression.ts'
import { type DocumentHeader, documentFrame, formatVersion } from './document-header.ts'
import {
  type DocumentScanner,
  documentScanner,
  manifestInvalid,
  parseValue,
} from './document-scanner.ts'
import { type OffsetMeaning, offsetWitness } from './eras.ts'
import { isJsonObject, type Json } from './json.ts'
import { pythonString } from './python-json.ts'
import { checkIdentity, isCount } from './sha256-document.ts'
import type { StoredChunk } from './stored-chunk.ts'

// The document that says what a backup consists of, written last.
// Source: cinder/backup/chunkeddriver.py, `_write_metadata`.

// Our own part of `extra_metadata`, which Cinder keeps for its drivers and Swift's never uses.
const ourKey = 'cinder_backup_agent'

export type MetadataMembers = {
  readonly header: DocumentHeader
  readonly parentId: string | null
  /** The volume's own metadata as JSON text (volume-meta.ts). */
  readonly volumeMeta: string | null
  /** The volume's size where its zeros were left out of a full backup, else null. */
  readonly zerosLeftOutOfBytes: number | null
}

/** The text of a metadata document before its first entry and after its last. */
export function metadataFrame(
  { header, parentId, volumeMeta, zerosLeftOutOfBytes }: MetadataMembers,
  isEmpty: boolean,
): { readonly head: string; readonly tail: string } {
  const members: Record<string, Json> = {
    ...header,
    parent_id: parentId,
    version: formatVersion,
    volume_meta: volumeMeta,
  }
  if (zerosLeftOutOfBytes !== null) {
    const ours = { volume_bytes: zerosLeftOutOfBytes, zero_chunks: 'sparse' }
    members['extra_metadata'] = { [ourKey]: ours }
  }
  const { head, tail } = documentFrame(members, 'objects')
  return { head: `${head}${isEmpty ? '[]' : '[\n'}`, tail: `${isEmpty ? '' : '\n  ]'}${tail}` }
}

/** One entry of `objects`, with a comma where another follows. */
export function metadataEntry(chunk: StoredChunk, isLast: boolean): string {
  return `    {
      ${pythonString(chunk.name)}: {
        "compression": "${chunk.compression}",
        "length": ${chunk.lengthBytes},
        "md5": "${chunk.md5}",
        "offset": ${chunk.offsetBytes}
      }
    }${isLast ? '' : ',\n'}`
}

/** What a metadata document says, but for its chunks. */
export type Metadata = {
  readonly parentId: string | null
  readonly volumeMeta: string | null
  /** What the offsets of the entries are: of a chunk's start, or (before Kilo) of its end. */
  readonly offsetsAre: OffsetMeaning
  /** Where the last chunk ends. */
  readonly endBytes: number
  /** Below this offset a full backup holds zeros where it has no chunk. */
  readonly zeroFilledBytes: number
}

export type MetadataReader = DocumentScanner & {
  /** The entries that were complete since the last call, offsets as they stand there. */
  readonly taken: () => readonly StoredChunk[]
  /** What the whole document says; throws MANIFEST_INVALID where it is not to be trusted. */
  readonly result: () => Metadata
}

/**
 * Reads the metadata object named `document` of a backup as its bytes come. Throws MANIFEST_INVALID
 * where it is another backup's, names objects of others or makes no sense.
 */
export function metadataReader(
  document: string,
  expected: { readonly backupId: string; readonly volumeId: string; readonly prefix: string },
): MetadataReader {
  const fail = (why: string): never => {
    throw manifestInvalid(document, why)
  }
  const members = new Map<string, Json>()
  const witness = offsetWitness()
  let chunks: StoredChunk[] = []
  let chunkCount = 0
  let hasList = false

  const scanner = documentScanner(document, 'objects', {
    member: (key, value) => members.set(key, value),
    list: () => {
      hasList = true
    },
    element(bytes, start, end) {
      const entry = parseValue(document, bytes, start, end)
      const chunk = parseEntry(entry, expected.prefix)
      if (typeof chunk === 'string') return fail(`entry ${chunkCount} of objects ${chunk}`)
      witness.add(chunk.offsetBytes, chunk.lengthBytes)
      chunkCount += 1
      chunks.push(chunk)
    },
  })

  function textOrNull(key: string): string | null {
    const value = members.get(key) ?? null
    return value === null || typeof value === 'string'
      ? value
      : fail(`has a ${key} that is no text`)
  }

  return {
    write: scanner.write,
    end: scanner.end,
    taken() {
      const taken = chunks
      chunks = []
      return taken
    },
    result() {
      checkIdentity(document, members, expected)
      if (!hasList) fail('has no objects')
      const parentId = textOrNull('parent_id')
      if (parentId === expected.backupId) fail('names itself as its parent')
      const zeroFilledBytes = zerosLeftOut(members.get('extra_metadata'), fail)
      const verdict = witness.judge({
        hasParentKey: members.has('parent_id'),
        isFull: parentId === null,
        leavesOutZeros: zeroFilledBytes > 0,
      })
      if (typeof verdict === 'string') return fail(verdict)
      if (parentId === null && chunkCount === 0 && zeroFilledBytes === 0) {
        fail('is of a full backup, and names no chunk: to restore it would write nothing')
      }
      return {
        parentId,
        volumeMeta: textOrNull('volume_meta'),
        offsetsAre: verdict.meaning,
        endBytes: Math.max(verdict.endBytes, parentId === null ? zeroFilledBytes : 0),
        zeroFilledBytes: parentId === null ? zeroFilledBytes : 0,
      }
    },
  }
}

/** The volume's size where its zeros were left out, else 0. Other drivers' extras mean nothing to us. */
function zerosLeftOut(extra: Json | undefined, fail: (why: string) => never): number {
  if (!isJsonObject(extra) || !Object.hasOwn(extra, ourKey)) return 0
  const ours = extra[ourKey]
  if (!isJsonObject(ours)) return fail(`has an ${ourKey} that is no object`)
  if (ours['zero_chunks'] !== 'sparse') return 0
  const { volume_bytes: volumeBytes } = ours
  return isCount(volumeBytes) ? volumeBytes : fail('has a volume_bytes that is no size')
}

/** An entry of `objects`; a string says what is wrong with it. */
function parseEntry(entry: Json, prefix: string): StoredChunk | string {
  if (!isJsonObject(entry)) return 'is no object'
  const names = Object.keys(entry)
  const [name = ''] = names
  if (names.length !== 1) return `has ${names.length} keys instead of one`
  const shown = JSON.stringify(name.slice(0, 300))
  if (!name.startsWith(`${prefix}-`)) return `names the object ${shown} of another backup`
  if (!/^\d{1,14}$/.test(name.slice(prefix.length + 1)))
    return `names the object ${shown}, no chunk`
  const value = entry[name]
  if (!isJsonObject(value)) return `has nothing under ${shown}`
  const { compression, length, md5, offset } = value
  if (!isCount(length) || length === 0) return 'has a length that is no positive number of bytes'
  if (!isCount(offset) || !isCount(offset + length))
    return 'has an offset that is no number of bytes'
  if (typeof md5 !== 'string' || !/^[0-9a-f]{32}$/i.test(md5)) return 'has an md5 that is none'
  const known = typeof compression === 'string' ? parseCompression(compression) : null
  if (known === null) {
    return `is compressed with ${JSON.stringify(compression ?? null).slice(0, 50)}, which is unknown`
  }
  return {
    name,
    offsetBytes: offset,
    lengthBytes: length,
    compression: known,
    md5: md5.toLowerCase(),
  }
}
