import type { BackupDevice } from '../domain/job.ts'
import { bell } from '../lib/bell.ts'

/**
 * Where the device of a job is handed over, by whoever takes `continue_backup`. The first one stays: of a
 * volume in use each is a copy of another moment, and no backup may be made of two.
 */
export type DeviceWait = {
  put(device: BackupDevice): void
  known(): BackupDevice | null
  /** Resolves to null where none comes in `ms`. Rejects with the signal's reason. */
  take(ms: number, signal: AbortSignal): Promise<BackupDevice | null>
}

/**
 * While it waits, a job has nothing to do: `rest` is called then, and `rise` before it goes on, which may
 * wait until there is room again.
 */
export function deviceWait(
  places: { readonly rest: () => void; readonly rise: (signal: AbortSignal) => Promise<void> },
  known: BackupDevice | null,
): DeviceWait {
  const came = bell()
  let device = known
  return {
    put(one) {
      device ??= one
      came.ring()
    },
    known: () => device,
    async take(ms, signal) {
      if (device !== null) return device
      places.rest()
      try {
        await came.rungAfter(0, AbortSignal.any([signal, AbortSignal.timeout(Math.ceil(ms))]))
      } finally {
        await places.rise(signal)
      }
      signal.throwIfAborted()
      return device
    },
  }
}
