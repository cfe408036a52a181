import { setImmediate } from 'node:timers/promises'

/** Lets everything else that is ready run before a long computation goes on. */
export function breathe(): Promise<void> {
  return setImmediate()
}
