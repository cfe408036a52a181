// Format version 1.0.0 has meant two things. Until Juno `offset` was the end of a chunk, since Kilo
// it is the start; the same releases had no `parent_id`. Source: cinder commits e7f592df7, 2f701a392.

export type OffsetMeaning = 'start' | 'end'

export type OffsetWitness = {
  /** Sees the next entry of a document, in its order. */
  readonly add: (offset: number, lengthBytes: number) => void
  /** What the offsets mean; a string says why the document cannot be trusted. */
  readonly judge: (document: {
    readonly hasParentKey: boolean
    readonly isFull: boolean
    readonly leavesOutZeros: boolean
  }) => { readonly meaning: OffsetMeaning; readonly endBytes: number } | string
}

/** Decides what the offsets of a document mean by two witnesses, who must agree. */
export function offsetWitness(): OffsetWitness {
  let sum = 0
  let areStarts = true
  let areEnds = true
  let startsAscend = true
  let endIfStart = 0

  return {
    add(offset, lengthBytes) {
      areStarts &&= offset === sum
      sum += lengthBytes
      areEnds &&= offset === sum
      startsAscend &&= offset >= endIfStart
      endIfStart = offset + lengthBytes
    },

    judge({ hasParentKey, isFull, leavesOutZeros }) {
      if (!hasParentKey) {
        if (areEnds) return { meaning: 'end', endBytes: sum }
        return areStarts
          ? 'has no parent_id, as before Kilo, but its offsets are the starts of chunks, as since then'
          : 'has offsets that do not follow from the lengths of its chunks'
      }
      const starts = { meaning: 'start', endBytes: endIfStart } as const
      if (areStarts) return starts
      if (isFull && !leavesOutZeros) {
        return areEnds
          ? 'has a parent_id, as since Kilo, but its offsets are the ends of chunks, as before'
          : 'is of a full backup, but its chunks leave gaps or overlap'
      }
      return startsAscend ? starts : 'has chunks that overlap or are out of order'
    },
  }
}
