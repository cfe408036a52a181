import { aborted } from '../lib/aborted.ts'
import { every } from '../lib/every.ts'
import type { Log } from '../ports/log.ts'
import type { Records, ServiceRow, ServiceState } from '../ports/records.ts'

type Deps = {
  readonly records: Pick<Records, 'reportService' | 'heartbeat'>
  readonly row: ServiceRow
  readonly intervalMs: number
  /** Whether work can be done; while it cannot, the row gets old and Cinder calls this host down. */
  readonly isUp: () => boolean
  /** Told what an operator says, once and whenever it is another. */
  readonly onDisabled: (isDisabled: boolean) => void
  readonly log: Log
}

export type ServiceReport = {
  /** Makes the row or brings it up to date. */
  begin(signal: AbortSignal): Promise<void>
  /** Says until `signal` aborts that this host lives, once the row is made: two at once would make two. */
  run(signal: AbortSignal): Promise<void>
}

/**
 * The row by which Cinder's API and `openstack volume service list` know that this host is up.
 * Source: cinder/service.py, `start` and `report_state`.
 */
export function serviceReport(deps: Deps): ServiceReport {
  const { records, row, intervalMs, isUp, log } = deps
  const begun = Promise.withResolvers<void>()
  let isSilent = false
  let isFailing = false
  let isDisabled: boolean | null = null

  function heard({ disabled }: ServiceState): void {
    if (disabled === isDisabled) return
    if (disabled) log.warn('an operator has disabled this service: Cinder sends it no new backups')
    else if (isDisabled !== null) log.info('this service is enabled again')
    isDisabled = disabled
    deps.onDisabled(disabled)
  }

  async function write(signal: AbortSignal): Promise<void> {
    heard(await records.reportService(row, signal))
  }

  async function beat(signal: AbortSignal): Promise<void> {
    if (!isUp()) {
      if (!isSilent) log.error('no heartbeat: the store does not answer, Cinder will call us down')
      isSilent = true
      return
    }
    if (isSilent) log.info('the heartbeat goes on')
    isSilent = false
    const state = await records.heartbeat(row.host, signal)
    if (state === null) await write(signal)
    else heard(state)
  }

  async function beatOrTell(signal: AbortSignal): Promise<void> {
    try {
      await beat(signal)
      isFailing = false
    } catch (error) {
      if (signal.aborted) return
      if (!isFailing) log.error('the heartbeat fails', { error })
      isFailing = true
    }
  }

  return {
    async begin(signal) {
      await write(signal)
      begun.resolve()
    },
    async run(signal) {
      await Promise.race([begun.promise, aborted(signal)])
      await every(intervalMs, signal, beatOrTell)
    },
  }
}
