/** A part of a budget that is ours until it is disposed. Disposing twice is allowed. */
export interface Reservation extends Disposable {
  /**
   * Lends a buffer of `bytes`, one for a reservation. It holds what its last user left there and goes
   * back with the reservation.
   */
  buffer(bytes: number): Buffer

  /** Gives back the buffer, and everything beyond `bytes`. */
  shrink(bytes: number): void
}

/** How much memory the buffers of all jobs together may take. The only back-pressure there is. */
export interface ByteBudget {
  readonly bytesMax: number

  /**
   * Waits in line for `bytes`; who asks for more than there is at all gets them alone. Resolves in the
   * order of the calls. Rejects with the signal's reason.
   */
  take(bytes: number, signal: AbortSignal): Promise<Reservation>
}

type Waiter = { readonly bytes: number; readonly grant: () => void }

/** First come, first served: a large request is never overtaken by small ones. */
export function byteBudget(bytesMax: number): ByteBudget {
  const waiting: Waiter[] = []
  const buffers = bufferPool(bytesMax)
  let taken = 0

  function fits(bytes: number): boolean {
    return taken === 0 || taken + bytes <= bytesMax
  }

  function giveBack(bytes: number): void {
    taken -= bytes
    while (waiting[0] !== undefined && fits(waiting[0].bytes)) waiting.shift()?.grant()
    if (taken === 0) buffers.clear()
  }

  return {
    bytesMax,
    // Nothing here is async but the grant: whoever goes on to ask for something else, a share of the
    // whole, say, must do so in the order of the grants, whether one had to wait or not.
    take: (bytes, signal) =>
      new Promise((resolve, reject) => {
        signal.throwIfAborted()
        const waiter = { bytes, grant }
        function grant(): void {
          signal.removeEventListener('abort', onAbort)
          taken += bytes
          resolve(reservation(bytes, giveBack, buffers))
        }
        function onAbort(): void {
          waiting.splice(waiting.indexOf(waiter), 1)
          giveBack(0) // Whoever stood behind a large request may fit now.
          reject(signal.reason)
        }
        if (waiting.length === 0 && fits(bytes)) return grant()
        signal.addEventListener('abort', onAbort, { once: true })
        waiting.push(waiter)
      }),
  }
}

/** The same budget for one user of it, who never holds more than `bytesMax` of it at once. */
export function shareOf(budget: ByteBudget, bytesMax: number): ByteBudget {
  const own = byteBudget(bytesMax)
  return {
    bytesMax: Math.min(bytesMax, budget.bytesMax),
    async take(bytes, signal) {
      const mine = await own.take(bytes, signal)
      try {
        const everyones = await budget.take(bytes, signal)
        return {
          buffer: (size) => everyones.buffer(size),
          shrink(left) {
            everyones.shrink(left)
            mine.shrink(left)
          },
          [Symbol.dispose]() {
            everyones[Symbol.dispose]()
            mine[Symbol.dispose]()
          },
        }
      } catch (error) {
        mine[Symbol.dispose]()
        throw error
      }
    },
  }
}

function reservation(
  bytes: number,
  giveBack: (bytes: number) => void,
  buffers: BufferPool,
): Reservation {
  let held = bytes
  let lent: Buffer | null = null

  function shrink(left: number): void {
    if (lent !== null) buffers.put(lent)
    lent = null
    const surplus = Math.max(0, held - left)
    held -= surplus
    if (surplus > 0) giveBack(surplus)
  }

  return {
    buffer(size) {
      lent ??= buffers.get(size)
      return lent
    },
    shrink,
    [Symbol.dispose]: () => shrink(0),
  }
}

type BufferPool = {
  readonly get: (bytes: number) => Buffer
  readonly put: (buffer: Buffer) => void
  readonly clear: () => void
}

const pooledBytesMin = 1_048_576 // Below it the allocator does as well.
const idleMax = 8

/** Keeps large buffers for their next user: fresh pages cost more than what is done with them. */
function bufferPool(bytesMax: number): BufferPool {
  const idle: Buffer[] = []
  let bytesInAll = 0 // Of the large ones, lent and idle.

  function dropIdle(bytesLeft: number): void {
    while (idle.length > 0 && (bytesInAll > bytesLeft || idle.length > idleMax)) {
      bytesInAll -= idle.shift()?.byteLength ?? 0
    }
  }

  return {
    get(bytes) {
      if (bytes < pooledBytesMin) return Buffer.allocUnsafe(bytes)
      const found = idle.findLastIndex((buffer) => buffer.byteLength === bytes)
      const [reused] = found < 0 ? [] : idle.splice(found, 1)
      if (reused !== undefined) return reused
      dropIdle(bytesMax - bytes)
      bytesInAll += bytes
      return pageAligned(bytes)
    },
    put(buffer) {
      if (buffer.byteLength < pooledBytesMin) return
      idle.push(buffer)
      dropIdle(bytesMax)
    },
    clear: () => dropIdle(0),
  }
}

const pageBytes = 4096
const allocatorHeaderBytes = 16

/** Reading a device into memory that starts on a page takes a third of the time on some machines. */
function pageAligned(bytes: number): Buffer {
  const skipped = pageBytes - allocatorHeaderBytes
  return Buffer.allocUnsafeSlow(bytes + pageBytes).subarray(skipped, skipped + bytes)
}
