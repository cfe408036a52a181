import type { Job } from '../domain/job.ts'
import { every } from '../lib/every.ts'
import type { Log } from '../ports/log.ts'
import type { Rows } from './rows.ts'

/**
 * How often a running job looks whether it is still wanted. Cinder looks before every object: where
 * another host was told of a forced delete, its row is all that says so.
 */
const lookMs = 5_000

/** `cancel` together with what the row says. Looks from `begin` on until it is disposed. */
export function watchRow(
  job: Job,
  rows: Rows,
  log: Log,
  cancel: AbortSignal,
): AsyncDisposable & { readonly cancel: AbortSignal; begin(): void } {
  const { operation } = job.request
  const isLong = operation === 'create' || operation === 'restore'
  if (!rows.isDatabase || !isLong) {
    return { cancel, begin: () => undefined, [Symbol.asyncDispose]: async () => undefined }
  }
  const unwanted = new AbortController()
  const end = new AbortController()
  let looking: Promise<void> | null = null
  const look = async () => {
    const reason = await rows.unwanted(job, end.signal).catch((error: unknown) => {
      if (!end.signal.aborted) log.warn('cannot look whether the job is still wanted', { error })
      return null
    })
    if (reason !== null) unwanted.abort(reason)
  }
  return {
    cancel: AbortSignal.any([cancel, unwanted.signal]),
    begin() {
      looking = every(lookMs, end.signal, look)
    },
    async [Symbol.asyncDispose]() {
      end.abort()
      await looking
    },
  }
}
