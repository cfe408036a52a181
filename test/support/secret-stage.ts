import { randomUUID } from 'node:crypto'
import { globSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { TestContext } from 'node:test'

import type { HeardEvent } from '#src/adapters/rpc/rabbit-scheduler.ts'
import { backupToPrimitive } from '#src/adapters/rpc/versioned-object.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { Operation } from '#src/domain/job.ts'
import type { Json, JsonObject } from '#src/domain/json.ts'
import type { RequestContext } from '#src/domain/request-context.ts'
import {
  type AgentHome,
  type AgentProcess,
  type AgentSettings,
  agentHome,
  spawnAgent,
} from './agent.ts'
import type { Canaries } from './canaries.ts'
import { type PublishedTap, tapPublished } from './published-tap.ts'
import { eventually, type PlainClient, plainClient } from './rabbit.ts'
import { rabbitVhost } from './rabbit-vhost.ts'
import { type Scheduler, startScheduler } from './scheduler.ts'
import { secretConfiguration } from './secret-places.ts'

/** An agent whose every secret is a canary, and everything that may hold one. */
export type SecretStage = {
  readonly birds: Canaries
  readonly home: AgentHome
  readonly env: NodeJS.ProcessEnv
  /** `backup_swift_key`. */
  readonly key: string
  readonly scheduler: Scheduler
  readonly client: PlainClient
  readonly tap: PublishedTap
  /** What its agents have logged so far, wherever. */
  log(): string
  /** Starts the agent; resolves once it consumes. */
  start(env?: NodeJS.ProcessEnv): Promise<AgentProcess>
  /** A volume with this content; returns its id. */
  newVolume(bytes: Uint8Array): string
  ask(
    operation: Operation,
    record: BackupRecord,
    context: RequestContext,
    extra?: JsonObject,
  ): Promise<Json>
  /** `ask`, and its last event. */
  run(...asked: Parameters<SecretStage['ask']>): Promise<HeardEvent>
}

const patienceMs = 60_000

/** `logFile`: below the agent's folder; null: what it prints. */
export async function secretStage(
  t: TestContext,
  birds: Canaries,
  settings: AgentSettings,
  logFile: string | null = null,
): Promise<SecretStage> {
  const vhost = await rabbitVhost(t)
  const given = await secretConfiguration(t, birds, vhost, settings)
  const home = await agentHome(t, given.transportUrl, given.settings)
  const tap = await tapPublished(t, vhost, given.users)
  const scheduler = await startScheduler(t, vhost.transportUrl)
  const client = await plainClient(t, vhost.amqpUrl)
  const ownLog = logFile === null ? {} : { CBA_DEFAULT_LOG_FILE: path.join(home.folder, logFile) }
  const log = () =>
    globSync(path.join(home.folder, '*.log'))
      .map((file) => readFileSync(file, 'utf8'))
      .join('')
  const stage: SecretStage = {
    birds,
    home,
    env: { ...given.env, ...ownLog },
    key: given.key,
    scheduler,
    client,
    tap,
    log,
    async start(env = {}) {
      const servedBefore = log().split('serving').length
      const agent = spawnAgent(t, home, { ...stage.env, ...env })
      await eventually(
        () => log().split('serving').length > servedBefore || agent.exitCode !== null,
        'the agent serves',
        patienceMs,
      )
      if (agent.exitCode !== null) throw new Error(`ended with ${agent.exitCode}: ${log()}`)
      return agent
    },
    newVolume(bytes) {
      const volumeId = randomUUID()
      writeFileSync(path.join(home.volumes, `volume-${volumeId}`), bytes)
      return volumeId
    },
    ask: (operation, record, context, extra = {}) =>
      scheduler.bus.request(
        { topic: 'cinder-backup', server: null },
        {
          method: `${operation}_backup`,
          args: { backup: backupToPrimitive({ record, parent: null }), ...extra },
          context: { ...context, requestId: `req-${randomUUID()}` },
        },
        AbortSignal.timeout(patienceMs),
      ),
    async run(operation, record, ...rest) {
      await stage.ask(operation, record, ...rest)
      return scheduler.ended(operation, record.id)
    },
  }
  return stage
}
