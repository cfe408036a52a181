/**
 * The places of jobs that run and only wait: others work there meanwhile. Whoever rises takes the next
 * place that becomes free, before any job that has not begun.
 */
export function restingPlaces(onChange: () => void) {
  const rising = new Set<() => void>()
  let count = 0

  function free(running: number, places: number): boolean {
    return running - count < places
  }

  return {
    /** How many jobs rest, or wait to rise. */
    get count() {
      return count
    },
    /** Whether another job may begin. */
    hasPlace: (running: number, places: number) => rising.size === 0 && free(running, places),
    rest() {
      count += 1
      onChange()
    },
    /** Resolves when there is room, or when nobody wants the job any more, for then it ends. */
    rise(running: number, places: number, signal: AbortSignal): Promise<void> {
      return new Promise((resolve) => {
        const goOn = () => {
          rising.delete(goOn)
          signal.removeEventListener('abort', goOn)
          count -= 1
          resolve()
          onChange()
        }
        if (signal.aborted || this.hasPlace(running, places)) return goOn()
        rising.add(goOn)
        signal.addEventListener('abort', goOn, { once: true })
      })
    },
    /** To be called when a job has ended, or rests: its place is free. */
    letRise(running: number, places: number): void {
      for (const goOn of rising) {
        if (!free(running, places)) return
        goOn()
      }
    },
  }
}
