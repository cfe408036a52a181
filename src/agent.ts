import { setMaxListeners } from 'node:events'
import { flushCompileCache } from 'node:module'
import path from 'node:path'

import { loadAccelerator } from './adapters/accelerator/native-accelerator.ts'
import { openJournal } from './adapters/journal/sqlite-journal.ts'
import { threadLanes } from './adapters/lanes/thread-lanes.ts'
import { rabbitPublisher } from './adapters/rpc/rabbit-publisher.ts'
import { connectRabbitServer } from './adapters/rpc/rabbit-rpc-server.ts'
import { fileSpool } from './adapters/spool/file-spool.ts'
import { pathVolumes } from './adapters/volumes/path-volumes.ts'
import type { Config } from './config.ts'
import type { LaneData } from './lane.ts'
import { type StoreRates, sharedStoreRates } from './lane-stores.ts'
import { aborted, atMost } from './lib/aborted.ts'
import { wallClockMs } from './lib/clock.ts'
import { every } from './lib/every.ts'
import type { SdNotify } from './lib/sd-notify.ts'
import { type Cinder, openCinder } from './open-database.ts'
import { openStores, type Stores } from './open-stores.ts'
import { type CreateDeps, createBackup } from './operations/create-backup.ts'
import { deleteBackup } from './operations/delete-backup.ts'
import { importRecord } from './operations/import-record.ts'
import type { Operations } from './operations/operation.ts'
import { capabilityReport } from './operations/report-capabilities.ts'
import { resetStatus } from './operations/reset-status.ts'
import { restoreBackup } from './operations/restore-backup.ts'
import type { Rows } from './operations/rows.ts'
import { type JobRunner, jobRunner } from './operations/run-jobs.ts'
import { sendOutbox } from './operations/send-outbox.ts'
import { type ProgressWatch, progressWatch } from './operations/watch-progress.ts'
import { watchStore } from './operations/watch-store.ts'
import type { Accelerator } from './ports/accelerator.ts'
import type { Journal, Outbox } from './ports/journal.ts'
import type { Lanes } from './ports/lanes.ts'
import type { Log, LogLevels, SecretKeeper } from './ports/log.ts'
import type { Claim, Publisher, RpcServer } from './ports/rpc.ts'
import type { Spool } from './ports/spool.ts'
import type { Volumes } from './ports/volumes.ts'
import { databaseSide, messageSide } from './record-side.ts'
import { requestHandler } from './rpc-handlers.ts'

const topic = 'cinder-backup'

/** Deliveries in hand from the host's own queue: each is settled by one transaction. */
const prefetch = 8

/** What a consumer that ends in order may take to go, and clocks to differ. */
const claimMarginMs = 5_000

/** How long the schedulers may take to be told that this host leaves. */
const leaveMsMax = 2_000

/** Old jobs are forgotten once an hour. */
const forgetMs = 3_600_000

/** Tells a supervisor how the agent is. */
export type Readiness = Pick<SdNotify, 'ready' | 'status' | 'stopping' | 'watchdog' | 'watchdogMs'>

/** What an agent is made of: which implementations, the caller decides. */
export type AgentParts = {
  readonly journal: Journal & Outbox
  readonly spool: Spool
  readonly stores: Omit<Stores, 'laneOptions' | typeof Symbol.asyncDispose>
  readonly publisher: Publisher
  readonly server: RpcServer
  readonly volumes: Volumes
  readonly lanes: Lanes
  readonly accelerator: Accelerator | null
  /** Null: records travel with the requests. */
  readonly cinder: Cinder | null
}

/** What is not in the configuration. */
export type RunChoices = {
  /** May change while the agent runs. */
  readonly rates: StoreRates
  /** Whether to start beside another consumer of the host's own queue. */
  readonly isTakeOver: boolean
}

type AgentLog = Log & LogLevels & SecretKeeper

/**
 * The only place that knows every part. Runs until `signal` aborts, then stops consuming, leaves the
 * jobs for the next start and closes in reverse order. Rejects where it cannot start:
 * JOURNAL_LOCKED, HOST_TAKEN, JOURNAL_UNAVAILABLE, CONFIGURATION_INVALID, BROKER_REFUSED.
 */
export async function runAgent(
  config: Config,
  { rates, isTakeOver }: RunChoices,
  log: AgentLog,
  readiness: Readiness,
  signal: AbortSignal,
): Promise<void> {
  using journal = openJournal(config.stateDir)
  const spool = await fileSpool(path.join(config.stateDir, 'spool'))
  const [rpcLog, lanesLog] = [log.named('rpc'), log.named('lanes')]
  await using stores = openStores(config, rates, log.named('store'), log.addSecret)
  const bus = busOptions(config)
  await using publisher = rabbitPublisher(bus, rpcLog)
  await using server = connectRabbitServer(bus, publisher, rpcLog)
  const accelerator = findAccelerator(log)
  const volumes = pathVolumes({ ...config.volumes, accelerator })
  await using lanes = openLanes(config, stores, rates, lanesLog)
  await using opened = new AsyncDisposableStack()
  const cinder = await openCinder(
    config,
    { publisher, accelerator },
    opened,
    log.named('cinder'),
    signal,
  )
  const parts = { journal, spool, stores, publisher, server, volumes, lanes, accelerator, cinder }
  await runParts(parts, config, isTakeOver, log, readiness, signal)
}

/** `runAgent` on parts that are open; they are left open. The simulation runs it on memory alone. */
export async function runParts(
  parts: AgentParts,
  config: Config,
  isTakeOver: boolean,
  log: AgentLog,
  readiness: Readiness,
  signal: AbortSignal,
): Promise<void> {
  const end = endWith(signal)
  const { host, limits, availabilityZone, driver } = config
  const service = driver.classPath
  const { journal, spool, stores, publisher, server } = parts
  await spool.forgetAllBut(new Set(journal.unfinished().map(({ id }) => id)))
  const [rpcLog, jobsLog, storeLog] = [log.named('rpc'), log.named('jobs'), log.named('store')]
  let storeState: boolean | null = null
  const sideParts = {
    ...{ ...parts, storeState: () => storeState, log: jobsLog },
    onDisabled: (isDisabled: boolean) => capabilities.disabledIs(isDisabled),
  }
  const side =
    parts.cinder === null ? messageSide(sideParts) : databaseSide(parts.cinder, config, sideParts)
  const { rows, volumes, metadata, known, capabilitiesMs: intervalMs } = side
  const deps = { ...backupOptions(config, stores), ...parts, volumes, metadata, journal: known }
  const runner = jobRunner({
    ...{ journal, outbox: journal, publisher, work: spool, host, rows },
    ...{ log: jobsLog, maskSecrets: log.maskSecrets },
    operations: operationsOn(deps, host),
    moved: () => watch.moved(),
    jobsMax: limits.jobsMax,
    authWaitMs: authWaitMs(config),
    onCount(count) {
      server.takeShared(count < limits.jobsMax)
      readiness.status(`${count} jobs in hand`)
    },
  })
  const watch = watchdog(config, stores, () => runner.count, readiness, log)
  takeUnfinished(journal, runner, log)

  const told = { publisher, host, service, availabilityZone, intervalMs, log: rpcLog }
  const capabilities = capabilityReport({ ...told, isDisabled: null })
  const onChange = (isThere: boolean) => {
    storeState = isThere
    capabilities.storeIs(isThere)
  }
  const handle = requestHandler({
    ...{ journal, runner, publisher, topic, host, service },
    publishCapabilities: capabilities.ask,
    hideSecret: log.addSecret,
    maskSecrets: log.maskSecrets,
    checkStore: (context) => void stores.storeFor(context, context.projectId),
    levels: log,
    log: rpcLog,
    rows: side.handlerRows,
    signal: end.signal,
  })
  const claimed = server.claim(claimOf(config, isTakeOver), end.signal)
  const ours = onceOurs(claimed, side.rows)
  const working = Promise.all([
    ours(() => runner.run(end.signal)),
    sendOutbox({ outbox: journal, publisher, log: rpcLog }, end.signal),
    watchStore({ probe: stores.probe, log: storeLog, onChange }, end.signal),
    ours(() => side.run(runner, end.signal)),
    capabilities.run(end.signal),
    watch.run(end.signal),
    forgetOld(journal, log, end.signal),
  ])
  working.catch((error: unknown) => end.abort(error)) // A defect: nothing may go on half alive.
  try {
    await claimed
    await side.begin(runner, end.signal)
    await server.serve(handle, end.signal)
    tellServing(config, server.queues, runner.count, log)
    readiness.ready()
    flushCompileCache() // Who is killed writes nothing at its end.
    await aborted(end.signal)
  } catch (error) {
    if (!end.signal.aborted) end.abort(error)
  }
  readiness.stopping()
  await server.stop()
  if (side.rows.isDatabase)
    await atMost(leaveMsMax, capabilities.leave(AbortSignal.timeout(leaveMsMax)))
  await working
  if (!signal.aborted) throw end.signal.reason
  log.info('stopped', { jobs_left: runner.count })
}

/** The rows of a host that another serves are not ours to change; work without rows needs no broker. */
function onceOurs(claimed: Promise<void>, { isDatabase }: Pick<Rows, 'isDatabase'>) {
  return (run: () => Promise<unknown>) => (isDatabase ? claimed.then(run, () => undefined) : run())
}

function operationsOn(deps: CreateDeps, host: string): Operations {
  return {
    create: createBackup(deps),
    restore: restoreBackup(deps),
    delete: deleteBackup(deps.stores),
    import: importRecord({ ...deps, host }),
    reset_status: resetStatus,
  }
}

/** Reported once; the lanes look for it themselves. */
function findAccelerator(log: Log): Accelerator | null {
  const { accelerator, why } = loadAccelerator()
  if (accelerator === null) log.info('no accelerator: the runtime does its work, slower', { why })
  else log.info('accelerator found', { features: accelerator.features })
  return accelerator
}

/** Only who forwarded a token can send another: Cinder's API asks for nothing twice. */
function authWaitMs({ swift, records, retry }: Config): number {
  return swift.auth === 'per_user' && records === 'message' ? retry.budgetMs : 0
}

/** Slower than this is nobody, unless it is told to be. */
const stillMsMax = 3_600_000

/** Where the rate is limited a whole round of chunks may take its time. */
function watchdog(
  { limits, retry }: Config,
  { objectSizeBytes }: AgentParts['stores'],
  jobs: () => number,
  readiness: Readiness,
  log: Log,
): ProgressWatch {
  const { bytesPerSecondMax: rate, jobsMax, uploadsMax } = limits
  const roundMs = rate > 0 ? (1000 * objectSizeBytes * jobsMax * uploadsMax) / rate : 0
  return progressWatch({
    jobs,
    stillMsMax: stillMsMax + retry.budgetMs + roundMs,
    intervalMs: readiness.watchdogMs,
    wellDone: () => readiness.watchdog(),
    log,
  })
}

function openLanes({ limits }: Config, stores: Stores, rates: StoreRates, log: Log): Lanes {
  const data: LaneData = { stores: stores.laneOptions, rates: sharedStoreRates(rates) }
  const { workers, memoryBytesMax: memoryMax } = limits
  return threadLanes({
    entry: new URL('./lane.ts', import.meta.url),
    data,
    workers,
    memoryMax,
    log,
  })
}

/** What an earlier life of the agent left. */
function takeUnfinished(
  journal: Journal,
  runner: JobRunner,
  log: Pick<SecretKeeper, 'addSecret'>,
): void {
  for (const job of journal.unfinished()) {
    if (job.context.authToken !== null) log.addSecret(job.context.authToken)
    runner.takeLeft(job)
  }
}

function tellServing(config: Config, queues: readonly string[], jobs: number, log: Log): void {
  const { host, records, volumes, driver, notifications } = config
  if (notifications.isDriverAssumed) {
    log.info('no notification driver is configured: messagingv2 is used')
  }
  log.info('serving', { queues, host, records, volumes: volumes.kind, store: driver.kind, jobs })
}

/**
 * What a host without power leaves behind is missed by RabbitMQ after one to two heartbeats of silence.
 * Source: rabbit_heartbeat.erl.
 */
function claimOf({ rabbit }: Config, isTakeOver: boolean): Claim {
  return { isTakeOver, waitMs: 2000 * rabbit.heartbeatTimeoutThreshold + claimMarginMs }
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

function backupOptions(config: Config, stores: AgentParts['stores']) {
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
    effort: backups.compressionEffort,
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
