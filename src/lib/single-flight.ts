import { orAborted } from './aborted.ts'

export interface SingleFlight<T> extends AsyncDisposable {
  /**
   * The result of the run under way, else of a new one. Rejects with the signal's reason when it
   * aborts first; the run goes on for the others.
   */
  join(signal: AbortSignal): Promise<T>
}

/**
 * Shares one run of `work` among all who ask for it while it runs. Disposing aborts the run and
 * waits for its end.
 */
export function singleFlight<T>(work: (signal: AbortSignal) => Promise<T>): SingleFlight<T> {
  const stop = new AbortController()
  let running: Promise<T> | null = null

  return {
    join: (signal) => {
      running ??= work(stop.signal).finally(() => {
        running = null
      })
      return orAborted(running, signal)
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort()
      await Promise.allSettled([running])
    },
  }
}
