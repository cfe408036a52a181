import type { DocumentHeader } from '../domain/document-header.ts'
import { digestBytes } from '../domain/extents.ts'
import { type MetadataMembers, metadataEntry, metadataFrame } from '../domain/metadata-document.ts'
import { sha256Frame, sha256Lines } from '../domain/sha256-document.ts'
import type { StreamedBody } from '../ports/object-store.ts'
import type { SpoolFile } from '../ports/spool.ts'
import type { StoredChunks } from './window-log.ts'

const pieceBytes = 262_144

/** The sha256file of a backup whose packed digests are in `digests`, byte for byte as Cinder's. */
export function sha256fileBody(
  header: DocumentHeader,
  blockSizeBytes: number,
  digests: SpoolFile,
): StreamedBody {
  const digestCount = digests.sizeBytes / digestBytes
  const { head, tail, sizeBytes } = sha256Frame(header, blockSizeBytes, digestCount)
  return {
    sizeBytes,
    async *open() {
      yield head
      const packed = Buffer.allocUnsafe(4096 * digestBytes)
      for (let at = 0; at < digests.sizeBytes; ) {
        const bytes = await digests.read(at, packed)
        at += bytes
        yield sha256Lines(packed.subarray(0, bytes), at === digests.sizeBytes)
      }
      yield tail
    },
  }
}

/** The metadata document of a backup whose chunks are in `chunks`, byte for byte as Cinder's. */
export async function metadataBody(
  members: MetadataMembers,
  chunks: StoredChunks,
): Promise<StreamedBody> {
  const open = () => metadataPieces(members, chunks)
  let sizeBytes = 0
  for await (const piece of open()) sizeBytes += piece.byteLength
  return { sizeBytes, open }
}

async function* metadataPieces(
  members: MetadataMembers,
  chunks: StoredChunks,
): AsyncGenerator<Uint8Array, void, undefined> {
  const count = chunks.count()
  const { head, tail } = metadataFrame(members, count === 0)
  let text = head
  let index = 0
  for await (const chunk of chunks.read()) {
    index += 1
    text += metadataEntry(chunk, index === count)
    if (text.length < pieceBytes) continue
    yield Buffer.from(text, 'latin1') // All of it is ASCII.
    text = ''
  }
  yield Buffer.from(text + tail, 'latin1')
}
