import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'

import { memoryJournal } from '#src/adapters/journal/sqlite-journal.ts'
import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { backupToPrimitive } from '#src/adapters/rpc/versioned-object.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { Operation } from '#src/domain/job.ts'
import type { JsonObject } from '#src/domain/json.ts'
import { aborted } from '#src/lib/aborted.ts'
import type { RunOperation } from '#src/operations/operation.ts'
import { resetStatus } from '#src/operations/reset-status.ts'
import { noRows } from '#src/operations/rows.ts'
import { jobRunner } from '#src/operations/run-jobs.ts'
import type { RpcRequest } from '#src/ports/rpc.ts'
import { type HandlerDeps, requestHandler } from '#src/rpc-handlers.ts'
import { aContext, aDelivery, aRecord, aRequest } from './builders.ts'
import { recordingPublisher } from './recording-publisher.ts'

const service = 'cinder.backup.drivers.swift.SwiftBackupDriver'

/** A request handler over a memory journal, with a runner that runs nothing. */
export function handlerBench(changes: Partial<HandlerDeps> = {}, journal = memoryJournal()) {
  const publisher = recordingPublisher()
  const log = recordingLog()
  const untilCancelled: RunOperation = async (_run, signal) => {
    await aborted(signal)
    throw signal.reason
  }
  const runner = jobRunner({
    journal,
    outbox: journal,
    publisher,
    rows: noRows,
    work: { forget: async () => undefined },
    operations: {
      create: untilCancelled,
      restore: untilCancelled,
      delete: untilCancelled,
      import: untilCancelled,
      reset_status: resetStatus,
    },
    host: 'host-1',
    jobsMax: 4,
    authWaitMs: 0,
    log,
    maskSecrets: (text) => text,
    moved: () => undefined,
    onCount: () => undefined,
  })
  const handle = requestHandler({
    journal,
    runner,
    publisher,
    topic: 'cinder-backup',
    host: 'host-1',
    service,
    checkStore: () => undefined,
    publishCapabilities: () => undefined,
    hideSecret: () => undefined,
    levels: log,
    maskSecrets: (text) => text,
    log,
    signal: new AbortController().signal,
    rows: null,
    ...changes,
  })
  return {
    journal,
    runner,
    publisher,
    log,
    handle,
    events: () => journal.events(99).map(({ notification }) => notification),
    /** A backup that this agent made, as its journal has it. */
    known(fields: Partial<BackupRecord> = {}): BackupRecord {
      const record = aRecord({
        container: 'volumebackups',
        service_metadata: `volume_x/20261123000000/az_nova_backup_x`,
        service,
        host: 'host-1',
        ...fields,
      })
      const acceptance = journal.accept(aDelivery(aRequest('create', record)))
      assert.ok(acceptance.kind === 'new')
      const available = { ...record, status: 'available' as const }
      journal.end(acceptance.job.id, { kind: 'done' }, available, [])
      return available
    },
  }
}

/** A request as it comes from the bus. */
export function call(
  method: string,
  args: JsonObject,
  fields: Partial<RpcRequest> = {},
): RpcRequest {
  return {
    method,
    args,
    version: '2.0',
    namespace: null,
    context: aContext(),
    uniqueId: randomUUID().replaceAll('-', ''),
    bodySha256: 'ab'.repeat(32),
    redelivered: false,
    source: 'topic',
    replyTo: null,
    ...fields,
  }
}

/** A request for an operation on a backup; a restore has a target of its own. */
export function ask(
  operation: Operation,
  record: BackupRecord,
  {
    args = {},
    parent = null,
    ...fields
  }: Partial<RpcRequest> & { parent?: BackupRecord | null } = {},
): RpcRequest {
  const nested = parent === null ? null : { record: parent, parent: null }
  const backup = backupToPrimitive({ record, parent: nested })
  const more = operation === 'restore' ? { volume_id: randomUUID() } : {}
  return call(`${operation}_backup`, { backup, ...more, ...args }, fields)
}
