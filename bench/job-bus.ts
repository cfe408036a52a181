import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { Operation } from '#src/domain/job.ts'
import type { JsonObject } from '#src/domain/json.ts'
import type { RequestContext } from '#src/domain/request-context.ts'
import { type TappedNotification, tapNotifications } from '../test/support/notification-tap.ts'
import type { RabbitVhost } from '../test/support/rabbit-vhost.ts'
import { startScheduler } from '../test/support/scheduler.ts'
import type { Owner } from './owner.ts'

/** An event with the agent's own time. */
export type JobEvent = {
  readonly type: string
  readonly seconds: number
  readonly payload: JsonObject
}

export type JobBus = {
  /** Runs a job of `context`'s user to its end; rejects where it fails. */
  run(
    operation: Operation,
    record: BackupRecord,
    context: RequestContext,
    extra?: JsonObject,
  ): Promise<JobRun>
}

export type JobRun = {
  readonly events: readonly JobEvent[]
  /** From before the request until the last event was here. */
  readonly clientSeconds: number
}

/** A scheduler that waits as long as it takes. */
export async function startJobBus(owner: Owner, vhost: RabbitVhost): Promise<JobBus> {
  const waiting = new Map<string, (event: JobEvent) => void>()
  await tapNotifications(owner, vhost.amqpUrl, (notification) => {
    const event = eventOf(notification)
    waiting.get(String(event.payload['backup_id']))?.(event)
  })
  return {
    async run(operation, record, context, extra = {}) {
      const events: JobEvent[] = []
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      waiting.set(record.id, (event) => {
        events.push(event)
        if (event.type === `backup.${operation}.end`) resolve()
        if (event.type !== `backup.${operation}.error`) return
        reject(new Error(`${operation}: ${event.payload['code']}: ${event.payload['message']}`))
      })
      const stack = new AsyncDisposableStack()
      try {
        const asker = { after: (end: () => unknown) => stack.defer(async () => void (await end())) }
        const scheduler = await startScheduler(asker, vhost.transportUrl, context)
        const startMs = performance.now()
        await scheduler.ask(operation, record, extra)
        await promise
        return { events, clientSeconds: (performance.now() - startMs) / 1000 }
      } finally {
        waiting.delete(record.id)
        await stack.disposeAsync()
      }
    },
  }
}

function eventOf({ message, payload }: TappedNotification): JobEvent {
  const time = `${String(message['timestamp']).replace(' ', 'T')}Z`
  return { type: String(message['event_type']), seconds: Date.parse(time) / 1000, payload }
}

/** The record in the last event that has one. */
export function recordIn(events: readonly JobEvent[]): BackupRecord {
  const found = events.findLast(({ payload }) => payload['record'] !== undefined)
  return found?.payload['record'] as unknown as BackupRecord
}
