import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { memoryJournal } from '#src/adapters/journal/sqlite-journal.ts'
import { winstonLog } from '#src/adapters/log/winston-log.ts'
import { memoryStore } from '#src/adapters/object-store/memory-store.ts'
import { memoryBus, type QueuedMessage } from '#src/adapters/rpc/memory-bus.ts'
import { memoryPublisher } from '#src/adapters/rpc/memory-rpc.ts'
import { type Incoming, requestIntake, type Settlement } from '#src/adapters/rpc/request-intake.ts'
import { memorySpool } from '#src/adapters/spool/memory-spool.ts'
import type { JsonObject } from '#src/domain/json.ts'
import { swiftLayout } from '#src/domain/store-layout.ts'
import { localLanes } from '#src/engine/local-lanes.ts'
import { monotonicMs, wallClockMs } from '#src/lib/clock.ts'
import { type CreateDeps, createBackup } from '#src/operations/create-backup.ts'
import { deleteBackup } from '#src/operations/delete-backup.ts'
import { importRecord } from '#src/operations/import-record.ts'
import { pathJobVolumes } from '#src/operations/job-volumes.ts'
import type { Operations, Run } from '#src/operations/operation.ts'
import { resetStatus } from '#src/operations/reset-status.ts'
import { restoreBackup } from '#src/operations/restore-backup.ts'
import { noRows } from '#src/operations/rows.ts'
import { jobRunner } from '#src/operations/run-jobs.ts'
import { sendOutbox } from '#src/operations/send-outbox.ts'
import { requestedVolumeMetadata } from '#src/operations/volume-metadata.ts'
import type { ObjectStore } from '#src/ports/object-store.ts'
import type { Volumes } from '#src/ports/volumes.ts'
import { requestHandler } from '#src/rpc-handlers.ts'

type Owner = { after(end: () => unknown): void }

export const agentHost = 'backup-host-1'
export const agentContainer = 'volumebackups'

const service = 'cinder.backup.drivers.swift.SwiftBackupDriver'
const topic = 'cinder-backup'
const jobsMax = 64
const yearMs = 365 * 24 * 3_600_000

export type MemoryAgentOptions = {
  readonly volumes: Volumes
  readonly messageBytesMax: number
  /** Puts something between a job and the world. */
  readonly watch?: (run: Run, world: { store: ObjectStore; volumes: Volumes }) => typeof world
}

/** An event as it was on the bus. */
export type SeenEvent = { readonly eventType: string; readonly payload: JsonObject }

export type MemoryAgent = {
  readonly store: ObjectStore
  readonly jobsInHand: number
  /** What RabbitMQ's deliveries go to. */
  take(incoming: Incoming): Promise<Settlement>
  /** The event that ended the last operation on a backup, once; null: none yet. */
  ended(backupId: string): SeenEvent | null
  /** Resolves when no more than `jobs` are in hand; rejects where that takes more than `seconds`. */
  idle(seconds: number, jobs?: number): Promise<void>
  /** Forgets what has ended, as a real one does after its time: this journal is in memory. */
  forget(): void
  logText(): string
}

/**
 * The whole agent in this process: its intake, handler, journal, runner, operations, engine, outbox and
 * log as `agent.ts` puts them together, over a bus, a store and lanes in memory.
 */
export async function memoryAgent(
  owner: Owner,
  { volumes, messageBytesMax, watch = (_run, world) => world }: MemoryAgentOptions,
): Promise<MemoryAgent> {
  const folder = mkdtempSync(path.join(tmpdir(), 'cba-memory-agent-'))
  const file = path.join(folder, 'agent.log')
  const log = winstonLog({ format: 'oslo', level: 'info', file, secrets: [] })
  const end = new AbortController()
  const journal = memoryJournal()
  const bus = memoryBus()
  const store = memoryStore()
  const ended = new Map<string, SeenEvent>()
  for (const priority of ['info', 'error']) hear(bus, `notifications.${priority}`, ended)
  const publisher = memoryPublisher(
    bus,
    {
      controlExchange: 'openstack',
      publisherId: `backup.${agentHost}`,
      topics: ['notifications'],
      drivers: ['messagingv2'],
      replyRetrySeconds: 1,
    },
    log,
  )
  const spool = memorySpool()
  const operations = watchedOperations({ journal, store, volumes, spool, watch })
  const runner = jobRunner({
    ...{ journal, outbox: journal, publisher, host: agentHost, log, operations, jobsMax },
    authWaitMs: 0,
    maskSecrets: log.maskSecrets,
    moved: () => undefined,
    work: spool,
    rows: noRows,
    onCount: () => undefined,
  })
  const handler = requestHandler({
    ...{ journal, runner, publisher, topic, host: agentHost, service, log, signal: end.signal },
    levels: log,
    rows: null,
    checkStore: () => undefined,
    publishCapabilities: () => undefined,
    hideSecret: log.addSecret,
    maskSecrets: log.maskSecrets,
  })
  const options = { messageBytesMax, rpcPingEnabled: true }
  const intake = requestIntake(options, handler, publisher, log, end.signal)
  const working = Promise.all([
    runner.run(end.signal),
    sendOutbox({ outbox: journal, publisher, log }, end.signal),
  ])
  owner.after(async () => {
    end.abort(new Error('the test is over'))
    await working
    await log[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true })
  })
  return {
    store,
    take: intake.take,
    get jobsInHand() {
      return runner.count
    },
    ended(backupId) {
      const event = ended.get(backupId) ?? null
      ended.delete(backupId)
      return event
    },
    async idle(seconds, jobs = 0) {
      const deadline = monotonicMs() + seconds * 1000
      while (runner.count > jobs) {
        if (monotonicMs() > deadline) throw new Error(`${runner.count} jobs do not end`)
        await sleep(2)
      }
    },
    forget: () => journal.forgetOld(wallClockMs() + 10 * yearMs),
    logText: () => readFileSync(file, 'utf8'),
  }
}

/** Takes all events off the bus; of each backup the last end is kept. */
function hear(bus: ReturnType<typeof memoryBus>, queue: string, ended: Map<string, SeenEvent>) {
  bus.declareQueue(queue)
  const take = async ({ body }: QueuedMessage): Promise<Settlement> => {
    const message = JSON.parse(JSON.parse(String(body))['oslo.message'])
    const { event_type: eventType, payload } = message
    if (/\.(end|error)$/.test(eventType)) ended.set(payload.backup_id, { eventType, payload })
    return 'ack'
  }
  bus.consume(queue, { prefetch: 1, take })
}

type Parts = Pick<CreateDeps, 'journal' | 'spool'> & {
  readonly volumes: Volumes
  readonly store: ObjectStore
  readonly watch: NonNullable<MemoryAgentOptions['watch']>
}

function watchedOperations({ journal, store, volumes, spool, watch }: Parts): Operations {
  const layout = swiftLayout(agentContainer, 'nova')
  const lanes = localLanes()
  const depsOf = (run: Run): CreateDeps => {
    const world = watch(run, { store, volumes })
    return {
      ...{
        journal,
        volumes: pathJobVolumes(world.volumes),
        metadata: requestedVolumeMetadata,
        spool,
        lanes,
        accelerator: null,
        service,
      },
      stores: { layout, storeFor: () => world.store, accessFor: () => null },
      availabilityZone: 'nova',
      sizes: {
        ...{ objectSizeBytes: 8192, blockSizeBytes: 1024 },
        ...{ memoryMax: 16 * 2 ** 20, workers: 2 },
      },
      ...{ compression: 'zlib', effort: 'compatible', zeroChunks: 'compat', verifyUpload: 'on' },
      uploadsMax: 4,
    }
  }
  return {
    create: (run, signal) => createBackup(depsOf(run))(run, signal),
    restore: (run, signal) => restoreBackup(depsOf(run))(run, signal),
    delete: (run, signal) => deleteBackup(depsOf(run).stores)(run, signal),
    import: (run, signal) =>
      importRecord({ ...depsOf(run), host: run.record().host ?? 'host-1' })(run, signal),
    reset_status: resetStatus,
  }
}
