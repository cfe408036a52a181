import { hash } from 'node:crypto'

import { AgentError } from '../../domain/errors.ts'
import type { Extent } from '../../domain/extents.ts'
import type {
  DigestedBody,
  ObjectId,
  ObjectSink,
  ObjectStore,
  StreamedBody,
} from '../../ports/object-store.ts'
import { isWhole, noBulkDelete, wholeBytes } from './store-bodies.ts'
import { checkListPrefix, checkObjectName, containerParts } from './store-names.ts'

const pieceBytes = 64 * 1024

/** A store that lives as long as the process: for tests and for trying things out. */
export function memoryStore(pageLimit = 1000): ObjectStore {
  const containers = new Map<string, Map<string, Buffer>>()

  const objectsOf = ({ container, name }: ObjectId) => {
    checkObjectName({ container, name })
    containerParts(container, { bytesMax: 256, mayNest: false })
    return containers.get(container)
  }

  /** Pours the object, or a part of it; resolves to its bytes. */
  const get = async (
    id: ObjectId,
    sink: ObjectSink,
    signal: AbortSignal,
    part: Extent | null = null,
  ): Promise<Buffer> => {
    signal.throwIfAborted()
    const whole = objectsOf(id)?.get(id.name)
    const { offsetBytes, lengthBytes } = part ?? { offsetBytes: 0, lengthBytes: Infinity }
    const bytes = whole?.subarray(offsetBytes, offsetBytes + lengthBytes)
    if (bytes === undefined) {
      const message = `get ${id.container}/${id.name}: there is no such object`
      throw new AgentError('OBJECT_NOT_FOUND', message, { ...id })
    }
    if (part !== null && bytes.byteLength < lengthBytes) {
      const message = `get ${id.container}/${id.name}: it ends before ${offsetBytes + lengthBytes} bytes`
      throw new AgentError('DOWNLOAD_CORRUPT', message, { ...id })
    }
    await sink.start()
    for (let start = 0; start < bytes.byteLength; start += pieceBytes) {
      signal.throwIfAborted()
      await sink.write(bytes.subarray(start, start + pieceBytes))
    }
    return bytes
  }

  return {
    limits: async (signal) => {
      signal.throwIfAborted()
      return {
        objectBytesMax: Number.MAX_SAFE_INTEGER,
        containerNameBytesMax: 256,
        containerMayNest: false,
      }
    },
    ensureContainer: async (container, signal) => {
      signal.throwIfAborted()
      containerParts(container, { bytesMax: 256, mayNest: false })
      if (!containers.has(container)) containers.set(container, new Map())
    },
    putObject: async (id, body, signal) => {
      signal.throwIfAborted()
      const objects = objectsOf(id)
      if (objects === undefined) {
        const message = `put ${id.container}/${id.name}: there is no such container`
        throw new AgentError('CONTAINER_NOT_FOUND', message, { ...id })
      }
      const bytes = await collected(body, signal)
      objects.set(id.name, bytes)
      return { sizeBytes: bytes.byteLength, md5: hash('md5', bytes) }
    },
    getObject: async (id, sink, signal) => {
      const bytes = await get(id, sink, signal)
      return { sizeBytes: bytes.byteLength, md5: hash('md5', bytes) }
    },
    getUndigested: async (id, sink, signal, part) => (await get(id, sink, signal, part)).byteLength,
    listPage: async (container, prefix, after, signal) => {
      signal.throwIfAborted()
      containerParts(container, { bytesMax: 256, mayNest: false })
      checkListPrefix(container, prefix)
      return [...(containers.get(container) ?? [])]
        .filter(([name]) => name.startsWith(prefix) && name > after)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .slice(0, pageLimit)
        .map(([name, bytes]) => ({ name, sizeBytes: bytes.byteLength, md5: hash('md5', bytes) }))
    },
    deleteObject: async (id, signal) => {
      signal.throwIfAborted()
      objectsOf(id)?.delete(id.name)
    },
    ...noBulkDelete,
  }
}

async function collected(
  body: Uint8Array | DigestedBody | StreamedBody,
  signal: AbortSignal,
): Promise<Buffer> {
  if (isWhole(body)) return Buffer.from(wholeBytes(body))
  const pieces: Uint8Array[] = []
  for await (const piece of body.open()) {
    signal.throwIfAborted()
    pieces.push(Buffer.from(piece))
  }
  return Buffer.concat(pieces)
}
