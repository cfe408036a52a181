import { mock } from 'node:test'

const realSetTimeout = globalThis.setTimeout
const realClearTimeout = globalThis.clearTimeout
const realTimeout = AbortSignal.timeout

type Timer = { readonly atMs: number; readonly number: number; readonly ring: () => void }

/** Time that passes only where nothing else is left to do: hours in a tenth of a second. */
export type VirtualTime = Disposable & {
  readonly nowMs: () => number
  /** Lets time pass until `isDone`, for at most `limitMs`; resolves to whether it was. */
  runUntil(isDone: () => boolean, limitMs: number): Promise<boolean>
}

const epochMs = Date.UTC(2026, 10, 23)

/**
 * Takes the place of the process's clocks and timers until it is disposed. What waits for no timer goes
 * on at once; what waits for a thread or a file does not fit here.
 */
export function virtualTime(): VirtualTime {
  const timers = new Set<Timer>()
  let nowMs = 0
  let lastNumber = 0

  function setTimer(ring: () => void, ms = 0): Timer & { unref(): void; ref(): void } {
    lastNumber += 1
    const timer = {
      ...{ atMs: nowMs + Math.max(1, ms), number: lastNumber, ring },
      unref: () => undefined,
      ref: () => undefined,
    }
    timers.add(timer)
    return timer
  }
  const isBefore = (a: Timer, b: Timer) =>
    a.atMs < b.atMs || (a.atMs === b.atMs && a.number < b.number)
  const earliest = (): Timer | null => {
    let first: Timer | null = null
    for (const timer of timers) if (first === null || isBefore(timer, first)) first = timer
    return first
  }

  globalThis.setTimeout = ((work: (...args: unknown[]) => void, ms?: number, ...args: unknown[]) =>
    setTimer(() => work(...args), ms)) as unknown as typeof setTimeout
  globalThis.clearTimeout = ((timer: Timer) =>
    void timers.delete(timer)) as unknown as typeof clearTimeout
  AbortSignal.timeout = (ms) => {
    const end = new AbortController()
    setTimer(() => end.abort(new DOMException('The operation timed out', 'TimeoutError')), ms)
    return end.signal
  }
  const clock = mock.method(performance, 'now', () => nowMs)
  mock.timers.enable({ apis: ['Date'], now: epochMs })

  return {
    nowMs: () => nowMs,
    async runUntil(isDone, limitMs) {
      const endMs = nowMs + limitMs
      while (true) {
        await new Promise(setImmediate) // Whatever can go on without a timer has done so by then.
        if (isDone()) return true
        const next = earliest()
        if (next === null || next.atMs > endMs) return false
        timers.delete(next)
        nowMs = next.atMs
        mock.timers.setTime(epochMs + Math.floor(nowMs))
        next.ring()
      }
    },
    [Symbol.dispose]() {
      mock.timers.reset()
      clock.mock.restore()
      AbortSignal.timeout = realTimeout
      globalThis.setTimeout = realSetTimeout
      globalThis.clearTimeout = realClearTimeout
    },
  }
}
