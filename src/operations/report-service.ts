import { every } from '../lib/every.ts'
import type { Log } from '../ports/log.ts'
import type { Records, ServiceRow } from '../ports/records.ts'

type Deps = {
  readonly records: Pick<Records, 'reportService' | 'heartbeat'>
  readonly row: ServiceRow
  readonly intervalMs: number
  /** Whether work can be done; while it cannot, the row gets old and Cinder calls this host down. */
  readonly isUp: () => boolean
  readonly log: Log
}

export type ServiceReport = {
  /** Makes the row or brings it up to date. */
  begin(signal: AbortSignal): Promise<void>
  /** Says until `signal` aborts that this host lives. */
  run(signal: AbortSignal): Promise<void>
}

/**
 * The row by which Cinder's API and `openstack volume service list` know that this host is up.
 * Source: cinder/service.py, `start` and `report_state`.
 */
export function serviceReport({ records, row, intervalMs, isUp, log }: Deps): ServiceReport {
  let isSilent = false
  let isFailing = false

  async function begin(signal: AbortSignal): Promise<void> {
    const { disabled } = await records.reportService(row, signal)
    if (disabled) log.warn('an operator has disabled this service: Cinder sends it no new backups')
  }

  async function beat(signal: AbortSignal): Promise<void> {
    if (!isUp()) {
      if (!isSilent) log.error('no heartbeat: the store does not answer, Cinder will call us down')
      isSilent = true
      return
    }
    if (isSilent) log.info('the heartbeat goes on')
    isSilent = false
    if (!(await records.heartbeat(row.host, signal))) await begin(signal)
  }

  return {
    begin,
    run: (signal) =>
      every(intervalMs, signal, async () => {
        try {
          await beat(signal)
          isFailing = false
        } catch (error) {
          if (signal.aborted) return
          if (!isFailing) log.error('the heartbeat fails', { error })
          isFailing = true
        }
      }),
  }
}
