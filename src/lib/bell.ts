export interface Bell {
  /** How often it was rung. */
  readonly count: number
  ring(): void
  /** Resolves when it has been rung more than `count` times, or when `signal` aborts. */
  rungAfter(count: number, signal: AbortSignal): Promise<void>
}

/** Wakes the one who waits for work; what is rung while it works is not slept over. */
export function bell(): Bell {
  let count = 0
  let wake: (() => void) | null = null
  return {
    get count() {
      return count
    },
    ring() {
      count += 1
      wake?.()
    },
    async rungAfter(seen, signal) {
      if (count !== seen || signal.aborted) return
      await new Promise<void>((resolve) => {
        const done = () => {
          signal.removeEventListener('abort', done)
          wake = null
          resolve()
        }
        wake = done
        signal.addEventListener('abort', done, { once: true })
      })
    },
  }
}
