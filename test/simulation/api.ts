import { randomUUID } from 'node:crypto'
import type { OutgoingMessage } from '#src/adapters/rpc/oslo-envelope.ts'

import { encodeCast } from '#src/adapters/rpc/oslo-request.ts'
import { backupToPrimitive } from '#src/adapters/rpc/versioned-object.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { Operation } from '#src/domain/job.ts'
import type { JsonObject } from '#src/domain/json.ts'
import { aContext, aRecord } from '../support/builders.ts'
import type { Heard } from '../support/steady-peer.ts'
import type { World } from './world.ts'

/** A backup as who asked for it knows it. */
export type AskedBackup = {
  readonly id: string
  readonly parent: AskedBackup | null
  /** The record of the first request. */
  readonly record: BackupRecord
  /** What the volume was when it was asked for. */
  readonly bytes: Buffer
  isCreateAsked: boolean
  isDeleteAsked: boolean
}

export type Sent = {
  readonly operation: Operation
  readonly backupId: string
  readonly message: OutgoingMessage
  readonly uniqueId: string
  readonly atMs: number
}

/** One restore's target: what it held before, and what it must hold after. */
export type Target = { readonly volumeId: string; readonly backup: AskedBackup }

/** Cinder's API and scheduler, as far as the bus sees them. */
export type Api = {
  readonly heard: readonly Heard[]
  readonly sent: readonly Sent[]
  readonly backups: readonly AskedBackup[]
  readonly targets: readonly Target[]
  newBackup(volumeId: string, parent: AskedBackup | null): AskedBackup
  create(backup: AskedBackup): void
  /** Onto a new volume full of `before`. */
  restore(backup: AskedBackup, before: Buffer): void
  /** A second request for the same restore, under another id. */
  restoreAgain(target: Target): void
  remove(backup: AskedBackup): void
  /** The same bytes once more. */
  repeat(sent: Sent): void
  recordOf(backup: AskedBackup): BackupRecord
}

const topics = ['notifications.info', 'notifications.error']
const exchange = 'openstack'
const never = new AbortController().signal

/** `nowMs` stamps what is sent and heard, `tell` hears of it. */
export function simulatedApi(
  { bus, volumes }: World,
  nowMs: () => number,
  tell: (what: string) => void,
): Api {
  const heard: Heard[] = []
  const sent: Sent[] = []
  const backups: AskedBackup[] = []
  const targets: Target[] = []
  for (const queue of ['cinder-backup', 'cinder-backup.host-1']) {
    bus.declareQueue(queue) // An agent was here before, and its queues are.
    bus.bind(queue, exchange, queue)
  }
  for (const topic of topics) {
    bus.declareQueue(topic)
    bus.bind(topic, exchange, topic)
    bus.consume(topic, {
      prefetch: 1,
      take: async ({ body }) => {
        const event = heardIn(body, nowMs())
        heard.push(event)
        tell(`  ${event.payload['backup_id']} ${event.eventType} ${event.payload['code'] ?? ''}`)
        return 'ack'
      },
    })
  }

  function send(operation: Operation, record: BackupRecord, extra: JsonObject = {}): void {
    const uniqueId = randomUUID().replaceAll('-', '')
    const message = encodeCast(
      exchange,
      { topic: 'cinder-backup', server: record.host },
      {
        ...{ method: `${operation}_backup`, version: '2.0', uniqueId, replyTo: null },
        args: { backup: backupToPrimitive({ record, parent: null }), ...extra },
        context: aContext({ projectId: record.project_id, userId: record.user_id }),
      },
    )
    const noted = { operation, backupId: record.id, message, uniqueId, atMs: nowMs() }
    sent.push(noted)
    tell(`  ${record.id} ${operation} is sent`)
    void bus.publish(message, never) // Where there is no broker, it waits for one.
  }
  const api: Api = {
    ...{ heard, sent, backups, targets },
    newBackup(volumeId, parent) {
      const bytes = Buffer.from(volumes.get(volumeId) ?? [])
      const snapshotId = randomUUID()
      volumes.set(snapshotId, bytes) // Nobody writes there: what was asked for is what is read.
      const record = aRecord({
        ...{ volume_id: volumeId, snapshot_id: snapshotId, parent_id: parent?.id ?? null },
      })
      const flags = { isCreateAsked: false, isDeleteAsked: false }
      const backup = { id: record.id, parent, record, bytes, ...flags }
      backups.push(backup)
      return backup
    },
    create: (backup) => {
      backup.isCreateAsked = true
      return send('create', backup.record)
    },
    restore(backup, before) {
      const target = { volumeId: randomUUID(), backup }
      volumes.set(target.volumeId, before)
      targets.push(target)
      api.restoreAgain(target)
    },
    restoreAgain: ({ volumeId, backup }) =>
      send('restore', { ...api.recordOf(backup), status: 'restoring' }, { volume_id: volumeId }),
    remove(backup) {
      backup.isDeleteAsked = true
      const record = api.recordOf(backup)
      const status = record.status === 'creating' ? 'creating' : 'deleting'
      return send('delete', { ...record, status })
    },
    repeat: ({ message }) => void bus.publish(message, never),
    recordOf({ id, record }) {
      const last = heard.findLast(
        ({ payload }) => payload['backup_id'] === id && payload['record'] !== undefined,
      )
      return (last?.payload['record'] ?? record) as BackupRecord
    },
  }
  return api
}

function heardIn(content: Buffer, atMs: number): Heard {
  const body = JSON.parse(content.toString())['oslo.message']
  const { event_type: eventType, message_id: messageId, payload } = JSON.parse(body)
  return { eventType, messageId, payload, body, atMs }
}
