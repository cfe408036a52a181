import process from 'node:process'

import { delay } from './clock.ts'

/**
 * A rate that all threads share and keep together: any number of them may take from it, each through
 * its own `SharedRate` on the same memory.
 */
export type SharedRate = {
  /** 0: no limit. */
  readonly perSecond: number
  /** Holds at once, for who waits already too. */
  readonly set: (perSecond: number) => void
  /** Waits for the turn of `amount`. Returns nothing where it is now; rejects with the signal's reason. */
  readonly take: (amount: number, signal: AbortSignal) => void | Promise<void>
  /** For `sharedRateOf` in another thread. */
  readonly shared: SharedArrayBuffer
}

// What a late timer or a pause may be made good for: more would be a burst, and with less a rate that is
// asked for in full would not be reached.
const creditNs = 100_000_000n
const secondNs = 1_000_000_000n

/** A change of the rate is seen by those who wait within this time. */
const stepMs = 100

// The words of the shared memory: when the next turn is, by the clock that all threads share; the
// rate; and how often it was set.
const [nextAt, rateAt, setsAt] = [0, 1, 2]

export function sharedRate(perSecond: number): SharedRate {
  const rate = sharedRateOf(new SharedArrayBuffer(3 * BigInt64Array.BYTES_PER_ELEMENT))
  rate.set(perSecond)
  return rate
}

export function sharedRateOf(shared: SharedArrayBuffer): SharedRate {
  const words = new BigInt64Array(shared)

  const take = (amount: number, signal: AbortSignal): void | Promise<void> => {
    const rate = Atomics.load(words, rateAt)
    if (rate === 0n) return
    const sets = Atomics.load(words, setsAt)
    const turnNs = takenTurn(words, (BigInt(amount) * secondNs) / rate)
    if (turnNs > process.hrtime.bigint() || signal.aborted)
      return wait(turnNs, sets, amount, signal)
  }
  const wait = async (turnNs: bigint, sets: bigint, amount: number, signal: AbortSignal) => {
    signal.throwIfAborted()
    while (true) {
      const leftMs = Number(turnNs - process.hrtime.bigint()) / 1e6
      if (leftMs <= 0) return
      await delay(Math.min(leftMs, stepMs), signal)
      if (Atomics.load(words, setsAt) !== sets) return take(amount, signal)
    }
  }

  return {
    shared,
    take,
    get perSecond() {
      return Number(Atomics.load(words, rateAt))
    },
    set: (perSecond) => {
      Atomics.store(words, rateAt, BigInt(Math.round(perSecond)))
      Atomics.store(words, nextAt, process.hrtime.bigint())
      Atomics.add(words, setsAt, 1n) // Turns given by the rate before are void.
    },
  }
}

/** When the next turn is; the one after it is `costNs` later. */
function takenTurn(words: BigInt64Array, costNs: bigint): bigint {
  while (true) {
    const next = Atomics.load(words, nextAt)
    const earliest = process.hrtime.bigint() - creditNs
    const turn = next > earliest ? next : earliest
    if (Atomics.compareExchange(words, nextAt, next, turn + costNs) === next) return turn
  }
}
