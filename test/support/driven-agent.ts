import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { after, type TestContext } from 'node:test'

import type { HeardEvent } from '#src/adapters/rpc/rabbit-scheduler.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { Operation } from '#src/domain/job.ts'
import type { JsonObject } from '#src/domain/json.ts'
import type { RequestContext } from '#src/domain/request-context.ts'
import {
  type AgentHome,
  type AgentProcess,
  type AgentSettings,
  agentHome,
  startAgent,
} from './agent.ts'
import { aContext } from './builders.ts'
import { type RabbitVhost, rabbitVhost } from './rabbit-vhost.ts'
import { recordFor, type Scheduler, startScheduler } from './scheduler.ts'

type Owner = Pick<TestContext, 'after'>

/** Owns what all tests of a file share. */
export const wholeFile: Owner = { after: (end) => after(end as () => unknown) }

export type BackupChoices = {
  readonly fields?: Partial<BackupRecord>
  readonly extra?: JsonObject
}

/** An agent as a process on a virtual host of its own, and the scheduler that drives it. */
export type DrivenAgent = {
  readonly home: AgentHome
  readonly agent: AgentProcess
  readonly vhost: RabbitVhost
  readonly scheduler: Scheduler
  readonly context: RequestContext
  /** The file that stands for a volume's device; the agent never makes one. */
  volumeFile(volumeId: string): string
  /** A volume with this content; resolves to its id. */
  newVolume(bytes: Uint8Array): Promise<string>
  writeVolume(volumeId: string, bytes: Uint8Array): Promise<void>
  readVolume(volumeId: string): Promise<Buffer>
  /** A record that asks for a backup of the volume. */
  asked(volumeId: string, fields?: Partial<BackupRecord>): BackupRecord
  /** Backs the volume up; resolves to the record of the last event. Rejects where it failed. */
  backup(volumeId: string, choices?: BackupChoices): Promise<BackupRecord>
  /** Restores onto a new volume that held `before`; resolves to what it then holds. */
  restore(record: BackupRecord, before: Uint8Array, extra?: JsonObject): Promise<Buffer>
  /** Runs an operation that must end well. */
  runWell(operation: Operation, record: BackupRecord, extra?: JsonObject): Promise<HeardEvent>
}

/** Small chunks and blocks, so that a small volume has several of them, in either store. */
export const chunkBytes = 262_144
export const blockBytes = 32_768

/** Of Swift's options. */
export const smallChunks = {
  backup_swift_object_size: chunkBytes,
  backup_swift_block_size: blockBytes,
}

const smallSizes = {
  backup_file_size: chunkBytes,
  backup_sha_block_size_bytes: blockBytes,
  ...smallChunks,
}

/** `settings` wins over small sizes and the defaults of `agentHome`. */
export async function drivenAgent(
  owner: Owner,
  settings: AgentSettings = {},
  context: RequestContext = aContext(),
): Promise<DrivenAgent> {
  const vhost = await rabbitVhost(owner)
  const home = await agentHome(owner, vhost.transportUrl, {
    ...settings,
    DEFAULT: { ...smallSizes, ...settings['DEFAULT'] },
  })
  const agent = await startAgent(owner, home)
  const scheduler = await startScheduler(owner, vhost.transportUrl, context)
  return driven({ home, agent, vhost, scheduler, context })
}

type Parts = Pick<DrivenAgent, 'home' | 'agent' | 'vhost' | 'scheduler' | 'context'>

function driven(parts: Parts): DrivenAgent {
  const { home, scheduler, context } = parts
  const volumeFile = (volumeId: string) => path.join(home.volumes, `volume-${volumeId}`)
  const self: DrivenAgent = {
    ...parts,
    volumeFile,
    async newVolume(bytes) {
      const volumeId = randomUUID()
      await self.writeVolume(volumeId, bytes)
      return volumeId
    },
    writeVolume: (volumeId, bytes) => writeFile(volumeFile(volumeId), bytes),
    readVolume: (volumeId) => readFile(volumeFile(volumeId)),
    asked: (volumeId, fields) => recordFor(volumeId, context, fields),
    async backup(volumeId, { fields, extra } = {}) {
      const asked = self.asked(volumeId, fields)
      await self.runWell('create', asked, extra)
      return scheduler.recordOf(asked.id)
    },
    async restore(record, before, extra = {}) {
      const volumeId = await self.newVolume(before)
      await self.runWell('restore', record, { volume_id: volumeId, ...extra })
      return self.readVolume(volumeId)
    },
    async runWell(operation, record, extra) {
      const event = await scheduler.run(operation, record, extra)
      const { code, message } = event.payload
      assert.equal(event.eventType, `backup.${operation}.end`, `${code}: ${message}`)
      return event
    },
  }
  return self
}
