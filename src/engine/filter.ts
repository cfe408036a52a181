import { addAbortSignal, type Duplex } from 'node:stream'

/** Bytes in, other bytes out: one direction of one codec, at work on one stream. */
export interface Filter extends AsyncDisposable {
  /**
   * Takes `piece`, which may be reused once it resolves: to how many of its bytes belong to the
   * filter's stream. Rejects with the signal's reason, or with whatever the codec complains of.
   */
  write(piece: Uint8Array): Promise<number>

  /** Says that this was all. Resolves when the last output was taken. */
  finish(): Promise<void>
}

/** Where a filter's output goes; the bytes are valid until it resolves. */
export type Output = (bytes: Uint8Array) => void | Promise<void>

export type OpenFilter = (output: Output, signal: AbortSignal) => Filter

/** A filter of node's own streams; `open` gives one that counts what it consumes. */
export function streamFilter(open: () => Duplex & { readonly bytesWritten: number }): OpenFilter {
  return (output, signal) => {
    const stream = addAbortSignal(signal, open())
    const pumped = pump(stream, output)
    const failed = rejectionOf(pumped, signal)
    return {
      async write(piece) {
        const before = stream.bytesWritten
        const taken = new Promise<void>((resolve) => stream.write(piece, () => resolve()))
        await Promise.race([taken, failed]) // A stream that fails never calls back.
        signal.throwIfAborted() // One that is destroyed does, having taken nothing.
        return stream.bytesWritten - before
      },
      async finish() {
        stream.end()
        await Promise.race([pumped, failed])
      },
      async [Symbol.asyncDispose]() {
        stream.destroy()
        await Promise.allSettled([pumped])
      },
    }
  }
}

/** Hands everything that comes out of `source` to `output`, one piece after the other. */
export async function pump(source: AsyncIterable<Uint8Array>, output: Output): Promise<void> {
  for await (const bytes of source) await output(bytes)
}

/** Never resolves; rejects when `work` does, with the signal's reason where that is why. */
export function rejectionOf(work: Promise<unknown>, signal: AbortSignal): Promise<never> {
  const rejection = new Promise<never>((_, reject) => {
    work.catch((error: unknown) => reject(signal.aborted ? signal.reason : error))
  })
  rejection.catch(() => {}) // Whoever waits will hear of it; perhaps nobody does.
  return rejection
}
