import type { Extent } from '../domain/extents.ts'

/** Container and whole object name. */
export type ObjectId = { readonly container: string; readonly name: string }

/** `md5`: hex, of the stored bytes; null where the store does not keep it. */
export type ObjectEntry = {
  readonly name: string
  readonly sizeBytes: number
  readonly md5: string | null
}

/** A body too large to hold: `open` gives it from its first byte each time it is called. */
export type StreamedBody = {
  readonly sizeBytes: number
  readonly open: () => AsyncIterable<Uint8Array>
}

/** A whole body whose MD5 is known. */
export type DigestedBody = { readonly bytes: Uint8Array; readonly md5: string }

/**
 * Takes an object's bytes. `start` is called before the first byte of every try, so that a retry
 * begins anew; the pieces given to `write` are valid only until it resolves.
 */
export type ObjectSink = {
  readonly start: () => void | Promise<void>
  readonly write: (piece: Uint8Array) => void | Promise<void>
}

export type StoredObject = { readonly sizeBytes: number; readonly md5: string }

export type StoreLimits = {
  /** The largest object that the store takes, in bytes. */
  readonly objectBytesMax: number
  readonly containerNameBytesMax: number
  /** Whether a container's name may hold slashes: a folder of folders. */
  readonly containerMayNest: boolean
}

/**
 * Where chunks and manifests live. The engine knows no more about Swift than this.
 *
 * Every method is one call to the store and rejects with AgentError: STORE_UNAVAILABLE,
 * IDENTITY_UNAVAILABLE, UPLOAD_CORRUPT or DOWNLOAD_CORRUPT (transient); STORE_REFUSED,
 * STORE_FORBIDDEN, STORE_FULL, TOKEN_EXPIRED, CONTAINER_NOT_FOUND, CONTAINER_INVALID,
 * OBJECT_TOO_LARGE or OBJECT_NOT_FOUND (not). An abort rejects with the signal's reason. Retries are
 * `retryingStore`'s work. `test/contracts/object-store.ts` is the executable form of this comment.
 */
export interface ObjectStore {
  /** What the store can take. */
  limits(signal: AbortSignal): Promise<StoreLimits>

  /** Creates the container if it is missing (and may be made). Safe to call again. */
  ensureContainer(container: string, signal: AbortSignal): Promise<void>

  /**
   * Writes the whole object or nothing, and verifies that what arrived is `body`: a store that
   * answers with another digest rejects with UPLOAD_CORRUPT. Replaces silently.
   */
  putObject(
    id: ObjectId,
    body: Uint8Array | DigestedBody | StreamedBody,
    signal: AbortSignal,
  ): Promise<StoredObject>

  /**
   * Reads the whole object into `sink`. Rejects with DOWNLOAD_CORRUPT when length or digest are not
   * what the store announced; by then `sink` may have got all of it. A rejection of the sink's own
   * passes through unchanged and ends the transfer.
   */
  getObject(id: ObjectId, sink: ObjectSink, signal: AbortSignal): Promise<StoredObject>

  /**
   * The same for whoever has a better digest of the content: the length is compared, the MD5 is
   * neither computed nor compared. With `part`, those of its bytes alone; an object that ends before
   * that, or a store that gives no parts, rejects with DOWNLOAD_CORRUPT or STORE_REFUSED. Resolves to the
   * length of what came.
   */
  getUndigested(
    id: ObjectId,
    sink: ObjectSink,
    signal: AbortSignal,
    part?: Extent | null,
  ): Promise<number>

  /**
   * One page of the objects whose names start with `prefix` and sort after `after`, in name order.
   * Empty when there are no more, and where the container does not exist.
   */
  listPage(
    container: string,
    prefix: string,
    after: string,
    signal: AbortSignal,
  ): Promise<readonly ObjectEntry[]>

  /** Resolves also where the object is already gone. */
  deleteObject(id: ObjectId, signal: AbortSignal): Promise<void>

  /** How many names `deleteObjects` takes at once; 0 where the store has no such call. */
  bulkDeletesMax(signal: AbortSignal): Promise<number>

  /**
   * Deletes objects of one container in one call. Resolves also where some are already gone; rejects
   * where any of them may still be there.
   */
  deleteObjects(container: string, names: readonly string[], signal: AbortSignal): Promise<void>
}
