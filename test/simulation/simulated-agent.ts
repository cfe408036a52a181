import { type RecordingLog, recordingLog } from '#src/adapters/log/recording-log.ts'
import { retryingStore } from '#src/adapters/object-store/retrying-store.ts'
import { memoryPublisher, memoryRpcServer } from '#src/adapters/rpc/memory-rpc.ts'
import { runParts } from '#src/agent.ts'
import { type Config, loadConfig } from '#src/config.ts'
import { AgentError } from '#src/domain/errors.ts'
import { swiftLayout } from '#src/domain/store-layout.ts'
import { localLanes } from '#src/engine/local-lanes.ts'
import type { Draw } from '../support/seeded-draw.ts'
import { type Life, startLife } from './life.ts'
import { busIn, journalIn, spoolIn, storeIn, volumesIn, type World } from './world.ts'

export const windowBytes = 4096
export const blockBytes = 512
export const container = 'volumebackups'

const { config } = loadConfig({
  paths: [],
  env: {
    CBA_DEFAULT_HOST: 'host-1',
    CBA_DEFAULT_TRANSPORT_URL: 'rabbit://user:secret@127.0.0.1:5672/',
    CBA_DEFAULT_BACKUP_SWIFT_URL: 'http://127.0.0.1/v1/AUTH_',
    CBA_DEFAULT_BACKUP_COMPRESSION_ALGORITHM: 'none', // Others take threads, and real time.
    CBA_CINDER_BACKUP_AGENT_JOBS_MAX: '3',
  },
})

export const publisherOptions = {
  controlExchange: config.transport.controlExchange,
  publisherId: 'backup.host-1',
  topics: config.notifications.topics,
  drivers: ['messagingv2'] as const,
  replyRetrySeconds: 60,
}

/** The whole agent on memory alone, from its start to its stop or its crash. */
export type SimulatedAgent = {
  readonly life: Life
  readonly log: RecordingLog
  /** Resolves when it has stopped or crashed; rejects where it ended by itself. */
  readonly ended: Promise<void>
  stop(): void
}

export function startSimulatedAgent(world: World, draw: Draw): SimulatedAgent {
  const life = startLife(draw, () => world.crashes)
  const log = recordingLog()
  const stopping = new AbortController()
  const running = run(config, world, life, draw, log, stopping.signal)
  const ended = Promise.race([running, life.died]).catch((error: unknown) => {
    if (!life.isDead) throw error
  })
  running.catch(() => undefined) // Of the dead, nothing matters.
  const stop = () => stopping.abort(new AgentError('AGENT_STOPPING', 'the simulation says stop'))
  void life.died.then(stop) // Its timers go.
  return { life, log, ended, stop }
}

async function run(
  settings: Config,
  world: World,
  life: Life,
  draw: Draw,
  log: RecordingLog,
  signal: AbortSignal,
): Promise<void> {
  const bus = busIn(world, life)
  await using publisher = memoryPublisher(bus, publisherOptions, log)
  await using server = memoryRpcServer(
    bus,
    {
      controlExchange: settings.transport.controlExchange,
      ...{ topic: 'cinder-backup', host: settings.host, prefetch: 8 },
      messageBytesMax: settings.limits.messageBytesMax,
      rpcPingEnabled: false,
    },
    publisher,
    log,
  )
  const bare = storeIn(world, life, draw)
  const retries = { attemptsMin: 3, backoffMs: 500, budgetMs: 0, onRetry: () => undefined }
  const store = retryingStore(bare, retries)
  const parts = {
    ...{ journal: journalIn(world, life), spool: spoolIn(world, life), publisher, server },
    stores: {
      layout: swiftLayout(container, settings.availabilityZone),
      ...{ objectSizeBytes: windowBytes, blockSizeBytes: blockBytes },
      accessFor: () => null,
      storeFor: () => store,
      probe: null,
    },
    volumes: volumesIn(world, life),
    lanes: {
      open: (job: Parameters<ReturnType<typeof localLanes>['open']>[0]) => localLanes().open(job),
      async [Symbol.asyncDispose]() {},
    },
    accelerator: null,
    cinder: null,
  }
  const readiness = { ready() {}, status() {}, stopping() {}, watchdog() {}, watchdogMs: null }
  await runParts(parts, settings, false, log, readiness, signal)
}
