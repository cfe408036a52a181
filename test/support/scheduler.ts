import { randomUUID } from 'node:crypto'

import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { rabbitDefaults } from '#src/adapters/rpc/rabbit-options.ts'
import {
  connectScheduler,
  type HeardEvent,
  type SchedulerBus,
} from '#src/adapters/rpc/rabbit-scheduler.ts'
import { backupToPrimitive } from '#src/adapters/rpc/versioned-object.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { Operation } from '#src/domain/job.ts'
import type { Json, JsonObject } from '#src/domain/json.ts'
import type { RequestContext } from '#src/domain/request-context.ts'
import { aContext, aRecord } from './builders.ts'

type Owner = { after(end: () => unknown): void }

export type Scheduler = {
  readonly bus: SchedulerBus
  readonly events: readonly HeardEvent[]
  /** Sends `<operation>_backup` and resolves to the acceptance. */
  ask(
    operation: Operation,
    record: BackupRecord,
    extra?: JsonObject,
    host?: string | null,
  ): Promise<Json>
  send(method: string, args: JsonObject, host?: string | null): Promise<Json>
  /** Resolves to the operation's `.end` or `.error` not yet awaited. */
  ended(operation: Operation, backupId: string, withinMs?: number): Promise<HeardEvent>
  /** `ask`, then `ended`. */
  run(operation: Operation, record: BackupRecord, extra?: JsonObject): Promise<HeardEvent>
  /** The record in the last event of a backup. */
  recordOf(backupId: string): BackupRecord
}

/** How long a test waits for anything that must come. */
const patienceMs = 60_000

/** A scheduler on the bus for one test. `context` is who asks. */
export async function startScheduler(
  owner: Owner,
  transportUrl: string,
  context: RequestContext = aContext(),
): Promise<Scheduler> {
  const bus = await connectScheduler(
    {
      transportUrl,
      rabbit: rabbitDefaults,
      declare: 'adopt',
      controlExchange: 'openstack',
      notificationTopics: ['notifications'],
    },
    recordingLog(),
    AbortSignal.timeout(patienceMs),
  )
  owner.after(() => bus[Symbol.asyncDispose]())
  const events: HeardEvent[] = []
  const awaited = new Set<HeardEvent>()
  let wake = Promise.withResolvers<void>()
  bus.listen(
    (event) => {
      events.push(event)
      wake.resolve()
      wake = Promise.withResolvers<void>()
    },
    () => undefined,
  )

  const scheduler: Scheduler = {
    bus,
    events,
    send: (method, args, host = null) =>
      bus.request(
        { topic: 'cinder-backup', server: host },
        { method, args, context: { ...context, requestId: `req-${randomUUID()}` } },
        AbortSignal.timeout(patienceMs),
      ),
    ask: (operation, record, extra = {}, host = null) =>
      scheduler.send(
        `${operation}_backup`,
        { backup: backupToPrimitive({ record, parent: null }), ...extra },
        host,
      ),
    async ended(operation, backupId, withinMs = patienceMs) {
      const deadline = performance.now() + withinMs
      while (true) {
        const event = events.find(
          (one) =>
            !awaited.has(one) &&
            one.payload['backup_id'] === backupId &&
            [`backup.${operation}.end`, `backup.${operation}.error`].includes(one.eventType),
        )
        if (event !== undefined) {
          awaited.add(event)
          return event
        }
        if (performance.now() > deadline) {
          const types = events.map(({ eventType }) => eventType).join(', ')
          throw new Error(`no end of the ${operation} of ${backupId}; heard ${types}`)
        }
        await Promise.race([wake.promise, afterMs(1000)])
      }
    },
    async run(operation, record, extra = {}) {
      await scheduler.ask(operation, record, extra)
      return scheduler.ended(operation, record.id)
    },
    recordOf(backupId) {
      const event = events.findLast(
        ({ payload }) => payload['backup_id'] === backupId && payload['record'] !== undefined,
      )
      return (event?.payload['record'] ?? null) as BackupRecord
    },
  }
  return scheduler
}

function afterMs(ms: number): Promise<void> {
  return new Promise((resolve) => {
    AbortSignal.timeout(ms).addEventListener('abort', () => resolve(), { once: true })
  })
}

/** A record for a backup of `volumeId`, as its asker would send it. */
export function recordFor(
  volumeId: string,
  context: RequestContext,
  fields: Partial<BackupRecord> = {},
): BackupRecord {
  const { userId, projectId } = context
  return aRecord({ volume_id: volumeId, user_id: userId, project_id: projectId, ...fields })
}
