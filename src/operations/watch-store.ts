import { every } from '../lib/every.ts'
import type { Log } from '../ports/log.ts'

type Probe = (signal: AbortSignal) => Promise<unknown>

type Deps = {
  /** Null: the store cannot be asked without somebody's token. */
  readonly probe: Probe | null
  readonly log: Log
  /** Told the first answer, and each that differs from the one before. */
  readonly onChange: (isThere: boolean) => void
}

/** As often as Cinder means to. Source: cinder/backup/manager.py, backup_driver_init_check_interval. */
const intervalMs = 60_000

/** How long a store may take to answer a probe before it is called away. */
const answerMs = 15_000

/**
 * Asks the store now and then whether it is there, and tells when that changes: at the start too, so
 * that a wrong address is seen before the first backup fails of it. Runs until `signal` aborts.
 */
export async function watchStore(
  { probe, log, onChange }: Deps,
  signal: AbortSignal,
): Promise<void> {
  if (probe === null) {
    log.info('the store is not watched: its address comes with each request')
    return
  }
  let wasThere: boolean | null = null
  await every(intervalMs, signal, async () => {
    const error = await probe(AbortSignal.any([signal, AbortSignal.timeout(answerMs)])).then(
      () => null,
      (reason: unknown) => ({ reason }),
    )
    const isThere = error === null
    if (signal.aborted || isThere === wasThere) return
    wasThere = isThere
    if (isThere) log.info('the store answers')
    else log.warn('the store does not answer, asking on', { error: error.reason })
    onChange(isThere)
  })
}
