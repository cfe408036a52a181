import { bell } from '../lib/bell.ts'

/** Where the news of a token reaches a job whose own has ended. */
export type TokenWait = {
  /** How long the job may wait for one now; 0: not at all, or it has waited in vain. */
  readonly ms: number
  /** The job may have a newer token from its next start on. */
  came(): void
  /** Resolves when one came since the last time, when `ms` are over or when `signal` aborts. */
  take(signal: AbortSignal): Promise<void>
}

/** The longest that a timer of the runtime runs, some 24 days; a longer one ends at once. */
const timerMsMax = 2 ** 31 - 1

/** `rest` is called while a job waits, and `rise` before it goes on, which may wait for room. */
export function tokenWait(
  places: { readonly rest: () => void; readonly rise: (signal: AbortSignal) => Promise<void> },
  waitMs: number,
): TokenWait {
  const news = bell()
  let heard = 0
  let isVain = false
  return {
    get ms() {
      return isVain ? 0 : waitMs
    },
    came: () => news.ring(),
    async take(signal) {
      places.rest()
      await news.rungAfter(
        heard,
        AbortSignal.any([signal, AbortSignal.timeout(Math.min(waitMs, timerMsMax))]),
      )
      isVain = news.count === heard
      heard = news.count
      await places.rise(signal)
    },
  }
}
