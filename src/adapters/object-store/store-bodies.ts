import { AgentError } from '../../domain/errors.ts'
import type { DigestedBody, ObjectStore, StreamedBody } from '../../ports/object-store.ts'

/** Whether all of a body is at hand. */
export function isWhole(
  body: Uint8Array | DigestedBody | StreamedBody,
): body is Uint8Array | DigestedBody {
  return body instanceof Uint8Array || 'bytes' in body
}

export function wholeBytes(body: Uint8Array | DigestedBody): Uint8Array {
  return body instanceof Uint8Array ? body : body.bytes
}

/** The part of a store that deletes one object at a time. */
export const noBulkDelete: Pick<ObjectStore, 'bulkDeletesMax' | 'deleteObjects'> = {
  bulkDeletesMax: async (signal) => {
    signal.throwIfAborted()
    return 0
  },
  deleteObjects: async (container, _names, signal) => {
    signal.throwIfAborted()
    const message = `delete from ${container}: this store has no call for many objects at once`
    throw new AgentError('ASSERTION_FAILED', message, { container })
  },
}
