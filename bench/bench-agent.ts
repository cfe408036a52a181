import { randomUUID } from 'node:crypto'
import { link, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import process from 'node:process'

import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { Operation } from '#src/domain/job.ts'
import type { JsonObject } from '#src/domain/json.ts'
import type { RequestContext } from '#src/domain/request-context.ts'
import { agentHome, spawnAgent } from '../test/support/agent.ts'
import { aContext } from '../test/support/builders.ts'
import { rabbitVhost } from '../test/support/rabbit-vhost.ts'
import { recordFor } from '../test/support/scheduler.ts'
import type { Bench } from './bench.ts'
import { type JobEvent, recordIn, startJobBus } from './job-bus.ts'
import { ownerOf } from './owner.ts'
import { cpuSecondsOf, forgetPeak, peakMibOf } from './process-usage.ts'
import type { Sample } from './row.ts'
import { agentCommand, gibibyte } from './settings.ts'
import { settleDisks, volumeFile } from './volumes.ts'

export type AgentChoices = {
  /** `http://…/v1/AUTH_`, to which the project's id is added. */
  readonly storeUrl: string
  /** Of the project that it works for; a project of its own without it. */
  readonly user?: { readonly projectId: string; readonly token: string }
  readonly container?: string
  /** Options of [DEFAULT] and of [cinder_backup_agent]. */
  readonly options?: Readonly<Record<string, string | number>>
  readonly ownOptions?: Readonly<Record<string, string | number>>
  readonly env?: NodeJS.ProcessEnv
  /** What starts it: see `spawnAgent`. */
  readonly starter?: readonly string[]
  /** Of the volume of its first job: by default more than one chunk, so that every lane has work. */
  readonly warmUpMib?: number
}

export type Job = {
  readonly sample: Omit<Sample, 'storedBytes'>
  readonly record: BackupRecord
  readonly events: readonly JobEvent[]
}

/** Our agent as a process, driven through the bus. */
export type BenchAgent = {
  readonly pid: number
  readonly projectId: string
  /** `/v1/AUTH_<project>/<container>/`: what all of its objects' paths start with. */
  readonly objectRoot: string
  /** From now on the volume is this file. */
  attach(volumeId: string, file: string): Promise<void>
  asked(volumeId: string, fields?: Partial<BackupRecord>): BackupRecord
  /** Runs a job to its good end. */
  run(operation: Operation, record: BackupRecord, extra?: JsonObject): Promise<Job>
  /** A full or (with a parent) an incremental backup. */
  backUp(volumeId: string, parent?: BackupRecord | null): Promise<Job>
}

const containerDefault = 'volumebackups'

/** Starts an agent and runs one small job on it, so that what is measured finds it warm. */
export async function startBenchAgent(
  bench: Bench,
  stack: AsyncDisposableStack,
  choices: AgentChoices,
): Promise<BenchAgent> {
  const { options = {}, ownOptions = {}, env = {}, starter = [], storeUrl } = choices
  const projectId = choices.user?.projectId ?? randomUUID().replaceAll('-', '')
  const container = choices.container ?? containerDefault
  const owner = ownerOf(stack)
  const vhost = await rabbitVhost(owner)
  const home = await agentHome(owner, vhost.transportUrl, {
    DEFAULT: {
      backup_driver: 'cinder.backup.drivers.swift.SwiftBackupDriver',
      backup_swift_url: storeUrl,
      ...options,
    },
    cinder_backup_agent: {
      // A volume is another name of a file of the cache, which lies on the same file system.
      volume_paths: path.join(bench.volumes, 'volume-{volume_id}'),
      ...ownOptions,
    },
  })
  const started = spawnAgent(owner, home, env, [...starter, agentCommand])
  await started.logged(/\bserving\b/)
  const bus = await startJobBus(owner, vhost)
  const context: RequestContext = aContext({
    projectId,
    authToken: choices.user?.token ?? 'any',
  })
  const sizes = new Map<string, number>()
  const agent: BenchAgent = {
    pid: started.pid,
    projectId,
    objectRoot: `/v1/AUTH_${projectId}/${container}/`,
    async attach(volumeId, file) {
      const name = path.join(bench.volumes, `volume-${volumeId}`)
      await rm(name, { force: true })
      await link(file, name)
      sizes.set(volumeId, Math.max(1, Math.ceil((await stat(file)).size / gibibyte)))
      stack.defer(() => rm(name, { force: true }))
    },
    asked: (volumeId, fields = {}) => recordFor(volumeId, context, { container, ...fields }),
    async run(operation, record, extra) {
      await settleDisks()
      forgetPeak(started.pid)
      const cpuBefore = cpuSecondsOf([started.pid])
      const { events, clientSeconds } = await bus.run(operation, record, context, extra)
      const cpuSeconds = cpuSecondsOf([started.pid]) - cpuBefore
      const peakMib = peakMibOf(started.pid)
      const [first, last] = [events[0], events.at(-1)]
      const wallSeconds = (last?.seconds ?? 0) - (first?.seconds ?? 0)
      if (clientSeconds > 1.1 * wallSeconds && clientSeconds > wallSeconds + 0.1) {
        process.stderr.write(`  the client saw ${clientSeconds.toFixed(2)} s of the next\n`)
      }
      return { sample: { wallSeconds, cpuSeconds, peakMib }, record: recordIn(events), events }
    },
    backUp(volumeId, parent = null) {
      const fields = { size: sizes.get(volumeId) ?? 1, parent_id: parent?.id ?? null }
      return agent.run('create', agent.asked(volumeId, fields))
    },
  }
  await warmUp(agent, choices.warmUpMib ?? warmUpMibDefault)
  return agent
}

const warmUpMibDefault = 256

async function warmUp(agent: BenchAgent, mebibytes: number): Promise<void> {
  const volumeId = randomUUID()
  await agent.attach(volumeId, await volumeFile('mixed', mebibytes))
  const { record } = await agent.backUp(volumeId)
  await agent.run('delete', asking(record, 'deleting'))
}

/** The record as a scheduler sends it when it wants `status` of it. */
export function asking(record: BackupRecord, status: BackupRecord['status']): BackupRecord {
  return { ...record, status }
}
