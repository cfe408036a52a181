import type { SharedRate } from '../../lib/shared-rate.ts'
import type { ObjectSink } from '../../ports/object-store.ts'

/** Where bytes of bodies wait for their turn, over all stores of the agent: `bandwidth_max`. */
export type Bandwidth = {
  /** Bytes that may go at once; null: there is no limit. */
  readonly pieceBytes: () => number | null
  /** Resolves, or returns, when `bytes` may go. */
  readonly take: (bytes: number, signal: AbortSignal) => void | Promise<void>
}

// Small enough that turns are short, not so small that pieces cost more than their bytes.
const pieceBytesMin = 4 * 1024
const pieceBytesMax = 1024 * 1024
const piecesPerSecond = 50

export function bandwidthOf(rate: SharedRate): Bandwidth {
  return {
    take: rate.take,
    pieceBytes: () => {
      const { perSecond } = rate
      if (perSecond === 0) return null
      return Math.min(
        pieceBytesMax,
        Math.max(pieceBytesMin, Math.ceil(perSecond / piecesPerSecond)),
      )
    },
  }
}

export const unlimited: Bandwidth = { pieceBytes: () => null, take: () => {} }

/** `bytes` in pieces of at most `pieceBytes`. */
export function* inPieces(bytes: Uint8Array, pieceBytes: number): Generator<Uint8Array> {
  for (let start = 0; start < bytes.byteLength; start += pieceBytes) {
    yield bytes.subarray(start, start + pieceBytes)
  }
}

/** The same pieces, each when its turn has come. */
export async function* pacedPieces(
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  bandwidth: Bandwidth,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  for await (const piece of pieces) {
    for (const part of inPieces(piece, bandwidth.pieceBytes() ?? piece.byteLength)) {
      await bandwidth.take(part.byteLength, signal)
      yield part
    }
  }
}

/** A sink that takes no more than its turn allows; who pours into it waits. */
export function pacedSink(sink: ObjectSink, bandwidth: Bandwidth, signal: AbortSignal): ObjectSink {
  return {
    start: () => sink.start(),
    write: (piece) => {
      const turn = bandwidth.take(piece.byteLength, signal)
      return turn === undefined ? sink.write(piece) : turn.then(() => sink.write(piece))
    },
  }
}
