import { delay } from './clock.ts'

/**
 * Calls `work` at once and then every `ms` after it ended, until `signal` aborts; then resolves.
 * What `work` throws is its own business: it must not.
 */
export async function every(
  ms: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => void | Promise<void>,
): Promise<void> {
  while (!signal.aborted) {
    await work(signal)
    await delay(ms, signal).catch(() => undefined) // The loop's condition sees the end.
  }
}
