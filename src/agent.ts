import { setMaxListeners } from 'node:events'
import path from 'node:path'

import { openJournal } from './adapters/journal/sqlite-journal.ts'
import { rabbitPublisher } from './adapters/rpc/rabbit-publisher.ts'
import { connectRabbitServer } from './adapters/rpc/rabbit-rpc-server.ts'
import { fileSpool } from './adapters/spool/file-spool.ts'
import { pathVolumes } from './adapters/volumes/path-volumes.ts'
import type { Config } from './config.ts'
import { aborted } from './lib/aborted.ts'
import { byteBudget } from './lib/byte-budget.ts'
import { wallClockMs } from './lib/clock.ts'
import { every } from './lib/every.ts'
import { openStores, type Stores } from './open-stores.ts'
import { createBackup } from './operations/create-backup.ts'
import { deleteBackup } from './operations/delete-backup.ts'
import { capabilityReport } from './operations/report-capabilities.ts'
import { restoreBackup } from './operations/restore-backup.ts'
import { jobRunner } from './operations/run-jobs.ts'
import { sendOutbox } from './operations/send-outbox.ts'
import { watchStore } from './operations/watch-store.ts'
import type { Journal } from './ports/journal.ts'
import type { Log } from './ports/log.ts'
import { requestHandler } from './rpc-handlers.ts'

const topic = 'cinder-backup'

/** Deliveries in hand from the host's own queue: each is settled by one transaction. */
const prefetch = 8

/** Old jobs are forgotten once an hour. */
const forgetMs = 3_600_000

/** Tells a supervisor how the agent is. */
export type Readiness = { ready(): void; status(text: string): void; stopping(): void }

/**
 * The only place that knows every part. Runs until `signal` aborts, then stops consuming, leaves the
 * jobs for the next start and closes in reverse order. Rejects where it cannot start:
 * JOURNAL_LOCKED, JOURNAL_UNAVAILABLE, CONFIGURATION_INVALID, BROKER_REFUSED.
 */
export async function runAgent(
  config: Config,
  log: Log & { addSecret(value: string): void },
  readiness: Readiness,
  signal: AbortSignal,
): Promise<void> {
  const end = endWith(signal)
  const { host, stateDir, limits } = config
  using journal = openJournal(stateDir)
  const spool = await fileSpool(path.join(stateDir, 'spool'))
  await using stores = openStores(config, log)
  const bus = busOptions(config)
  await using publisher = rabbitPublisher(bus, log)
  await using server = connectRabbitServer(bus, publisher, log)

  const volumes = pathVolumes(config.volumes)
  const budget = byteBudget(limits.memoryBytesMax)
  const deps = { ...backupOptions(config, stores), journal, spool, stores, volumes, budget }
  const runner = jobRunner({
    journal,
    outbox: journal,
    publisher,
    host,
    log,
    operations: {
      create: createBackup(deps),
      restore: restoreBackup(deps),
      delete: deleteBackup(stores),
    },
    jobsMax: limits.jobsMax,
    onCount(count) {
      server.takeShared(count < limits.jobsMax)
      readiness.status(`${count} jobs in hand`)
    },
  })
  for (const job of journal.unfinished()) {
    if (job.context.authToken !== null) log.addSecret(job.context.authToken)
    runner.take(job)
  }

  const capabilities = capabilityReport({
    publisher,
    host,
    service: config.driver.classPath,
    availabilityZone: config.availabilityZone,
    log,
  })
  const handle = requestHandler({
    journal,
    runner,
    publisher,
    topic,
    host,
    service: config.driver.classPath,
    publishCapabilities: capabilities.ask,
    hideSecret: log.addSecret,
    checkStore: (context) => void stores.storeFor(context, context.projectId),
    log,
    signal: end.signal,
  })
  const working = Promise.all([
    runner.run(end.signal),
    sendOutbox({ outbox: journal, publisher, log }, end.signal),
    watchStore({ probe: stores.probe, log, onChange: capabilities.storeIs }, end.signal),
    capabilities.run(end.signal),
    forgetOld(journal, log, end.signal),
  ])
  working.catch((error: unknown) => end.abort(error)) // A defect: nothing may go on half alive.
  try {
    await server.serve(handle, end.signal)
    tellServing(config, server.queues, runner.count, log)
    readiness.ready()
    await aborted(end.signal)
  } catch (error) {
    if (!end.signal.aborted) end.abort(error)
  }
  readiness.stopping()
  await server.stop()
  await working
  if (!signal.aborted) throw end.signal.reason
  log.info('stopped', { jobs_left: runner.count })
}

function tellServing(config: Config, queues: readonly string[], jobs: number, log: Log): void {
  const { host, records, volumes, driver, notifications } = config
  if (notifications.isDriverAssumed) {
    log.info('no notification driver is configured: messagingv2 is used')
  }
  log.info('serving', { queues, host, records, volumes: volumes.kind, store: driver.kind, jobs })
}

/** `signal`, and a way to end for a reason of our own. */
function endWith(signal: AbortSignal): AbortController {
  const end = new AbortController()
  signal.addEventListener('abort', () => end.abort(signal.reason), { once: true })
  if (signal.aborted) end.abort(signal.reason)
  setMaxListeners(0, end.signal)
  return end
}

function busOptions(config: Config) {
  const { host, transport, rabbit, declare, notifications, limits } = config
  return {
    transportUrl: transport.url,
    controlExchange: transport.controlExchange,
    rabbit,
    declare,
    topic,
    host,
    prefetch,
    messageBytesMax: limits.messageBytesMax,
    rpcPingEnabled: transport.isPingEnabled,
    notifications,
  }
}

function backupOptions(config: Config, stores: Stores) {
  const { backups, limits, driver, availabilityZone } = config
  return {
    service: driver.classPath,
    availabilityZone,
    sizes: {
      objectSizeBytes: stores.objectSizeBytes,
      blockSizeBytes: stores.blockSizeBytes,
      memoryMax: limits.memoryBytesMax,
      workers: limits.workers,
    },
    compression: backups.compression,
    zeroChunks: backups.zeroChunks,
    verifyUpload: backups.verifyUpload,
    uploadsMax: limits.uploadsMax,
  }
}

async function forgetOld(journal: Journal, log: Log, signal: AbortSignal): Promise<void> {
  await every(forgetMs, signal, () => {
    try {
      journal.forgetOld(wallClockMs())
    } catch (error) {
      log.warn('cannot forget old jobs', { error })
    }
  })
}
