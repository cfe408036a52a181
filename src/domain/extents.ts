/** A run of bytes. */
export type Extent = { readonly offsetBytes: number; readonly lengthBytes: number }

export const digestBytes = 32 // SHA-256.

/**
 * The maximal runs of blocks whose digest differs from the parent's, as extents of a window of
 * `windowBytes` with `blockBytes` a digest. A block that the parent lacks has changed; digests that
 * it has too many are ignored.
 */
export function* changedExtents(
  current: Uint8Array,
  parent: Uint8Array,
  blockBytes: number,
  windowBytes: number,
): Generator<Extent, void, undefined> {
  const blockCount = current.byteLength / digestBytes
  for (let block = 0; block < blockCount; block++) {
    if (isSame(current, parent, block)) continue
    const first = block
    while (block + 1 < blockCount && !isSame(current, parent, block + 1)) block++
    const offsetBytes = first * blockBytes
    yield {
      offsetBytes,
      lengthBytes: Math.min((block + 1) * blockBytes, windowBytes) - offsetBytes,
    }
  }
}

function isSame(current: Uint8Array, parent: Uint8Array, block: number): boolean {
  const from = block * digestBytes
  if (from + digestBytes > parent.byteLength) return false
  for (let at = from; at < from + digestBytes; at++) if (current[at] !== parent[at]) return false
  return true
}

/** What has been done of a volume, in as few extents as there are. */
export type ExtentSet = {
  /** The extents must not overlap what was added before. */
  readonly add: (extent: Extent) => void
  /** The first `countMax` extents, and the bytes of those left out. */
  readonly list: (countMax: number) => {
    readonly extents: readonly Extent[]
    readonly omittedBytes: number
  }
}

/** Work goes roughly in volume order, so that the extents merge and stay few. */
export function extentSet(): ExtentSet {
  const extents: { offsetBytes: number; lengthBytes: number }[] = []
  return {
    add({ offsetBytes, lengthBytes }) {
      let at = extents.length
      while (at > 0 && (extents[at - 1]?.offsetBytes ?? 0) > offsetBytes) at--
      const before = extents[at - 1]
      const after = extents[at]
      const joinsBefore = before && before.offsetBytes + before.lengthBytes === offsetBytes
      const joinsAfter = after && offsetBytes + lengthBytes === after.offsetBytes
      if (joinsBefore && joinsAfter) {
        before.lengthBytes += lengthBytes + after.lengthBytes
        extents.splice(at, 1)
      } else if (joinsBefore) {
        before.lengthBytes += lengthBytes
      } else if (joinsAfter) {
        after.offsetBytes = offsetBytes
        after.lengthBytes += lengthBytes
      } else {
        extents.splice(at, 0, { offsetBytes, lengthBytes })
      }
    },
    list: (countMax) => ({
      extents: extents.slice(0, countMax).map((extent) => ({ ...extent })),
      omittedBytes: extents.slice(countMax).reduce((sum, { lengthBytes }) => sum + lengthBytes, 0),
    }),
  }
}
