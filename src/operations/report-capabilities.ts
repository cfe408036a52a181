import { randomUUID } from 'node:crypto'

import { administratorContext } from '../domain/request-context.ts'
import { bell } from '../lib/bell.ts'
import { every } from '../lib/every.ts'
import { osloTimestamp } from '../lib/time-text.ts'
import type { Log } from '../ports/log.ts'
import type { Cast, Publisher } from '../ports/rpc.ts'

type Deps = {
  readonly publisher: Pick<Publisher, 'cast' | 'fanout'>
  readonly host: string
  /** Upstream's class path of our driver. */
  readonly service: string
  readonly availabilityZone: string
  /** How often Cinder's schedulers are told unasked; null: only what is new. */
  readonly intervalMs: number | null
  /** What an operator has said of it; null: not known yet. Then the host may be another's, and nobody is told of it. */
  readonly isDisabled: boolean | null
  readonly log: Log
}

export type CapabilityReport = {
  /** Has it told once more: a scheduler that starts asks for it. */
  ask(): void
  /** Whether the store answers now; told when it is new. */
  storeIs(isThere: boolean): void
  /**
   * Whether an operator has disabled this service. A scheduler does not look at that before it chooses a
   * host for a new backup: only at what is told here. Source: cinder/scheduler/host_manager.py, `_list_backup_services`.
   */
  disabledIs(now: boolean): void
  /** Tells that this host takes no more work: a scheduler never finds out by itself. */
  leave(signal: AbortSignal): Promise<void>
  /** Tells what is to be told until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>
}

const schedulerTopic = 'cinder-scheduler'

/**
 * Tells Cinder's schedulers what this host can do: one of them by a cast and, if there is one, all of
 * them. Where none listens nobody misses it; however often it is asked for, one message is under way.
 * Source: cinder/scheduler/rpcapi.py and cinder/backup/manager.py, publish_service_capabilities.
 */
export function capabilityReport(deps: Deps): CapabilityReport {
  const { publisher, intervalMs, log } = deps
  const asked = bell()
  let isThere = true
  let { isDisabled } = deps

  async function tell(signal: AbortSignal): Promise<void> {
    if (isDisabled === null) return
    const isUsable = isThere && isDisabled === false
    const [one, all] = messages(deps, isUsable)
    const hasScheduler = await publisher.cast({ topic: schedulerTopic, server: null }, one, signal)
    if (hasScheduler) await publisher.fanout(schedulerTopic, all, signal)
    log.debug('capabilities told', { backend_state: isUsable, has_scheduler: hasScheduler })
  }

  return {
    ask: () => asked.ring(),
    storeIs(now) {
      isThere = now
      asked.ring()
    },
    disabledIs(now) {
      isDisabled = now
      asked.ring()
    },
    async leave(signal) {
      isThere = false
      await tell(signal)
    },
    async run(signal) {
      let told = 0
      if (intervalMs !== null) void every(intervalMs, signal, () => asked.ring())
      while (!signal.aborted) {
        await asked.rungAfter(told, signal)
        if (signal.aborted) return
        told = asked.count
        await tell(signal).catch((error: unknown) => {
          if (!signal.aborted) log.warn('cannot tell the scheduler what we can do', { error })
        })
      }
    },
  }
}

/** To one scheduler and to all of them, under the versions in which these methods came. */
function messages({ host, service, availabilityZone }: Deps, isUsable: boolean): [Cast, Cast] {
  const args = {
    service_name: 'backup',
    capabilities: {
      backend_state: isUsable,
      driver_name: service,
      availability_zone: availabilityZone,
    },
    timestamp: osloTimestamp().replace(' ', 'T'), // Its fraction is never left out.
  }
  const cast = (method: string, version: string, more: Cast['args']): Cast => ({
    method,
    version,
    args: { ...args, ...more },
    context: administratorContext(`req-${randomUUID()}`),
    uniqueId: randomUUID().replaceAll('-', ''),
    replyTo: null,
  })
  return [
    cast('notify_service_capabilities', '3.5', { backend: host }),
    cast('update_service_capabilities', '3.3', { host, cluster_name: null }),
  ]
}
