import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'

import type { HeardEvent } from '#src/adapters/rpc/rabbit-scheduler.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { ErrorCode } from '#src/domain/errors.ts'
import type { Json } from '#src/domain/json.ts'
import type { DrivenAgent } from './driven-agent.ts'
import { assertFails } from './good-message.ts'
import { noise } from './volume-data.ts'

/** An entry of a metadata document, its name beside its members. */
export type Entry = {
  name: string
  compression: Json
  length: Json
  md5: Json
  offset: Json
}

export type Metadata = Record<string, Json | Entry[]> & { objects: Entry[] }

/** A backup in a POSIX store whose objects a test may change by hand. */
export type Tampered = {
  readonly record: BackupRecord
  /** The file of an object, from its name without the prefix: `-00001`, `_metadata`. */
  file(suffix: string): string
  read(suffix: string): Promise<Buffer>
  write(suffix: string, bytes: Uint8Array | string): Promise<void>
  edit(change: (metadata: Metadata) => void): Promise<void>
}

export async function tamperedBackup(
  agent: DrivenAgent,
  volumeId: string,
  parent: BackupRecord | null = null,
): Promise<Tampered> {
  const fields = parent === null ? {} : { parent_id: parent.id }
  const record = await agent.backup(volumeId, { fields })
  const file = (suffix: string) =>
    path.join(agent.home.store, String(record.container), `${record.service_metadata}${suffix}`)
  const self: Tampered = {
    record,
    file,
    read: (suffix) => readFile(file(suffix)),
    write: (suffix, bytes) => writeFile(file(suffix), bytes),
    async edit(change) {
      const document = JSON.parse((await self.read('_metadata')).toString())
      const objects = document.objects.map((one: Record<string, object>) => {
        const [[name, members] = ['', {}]] = Object.entries(one)
        return { name, ...members }
      })
      const metadata = { ...document, objects }
      change(metadata)
      const entries = metadata.objects?.map(({ name, ...members }: Entry) => ({ [name]: members }))
      await self.write('_metadata', JSON.stringify({ ...metadata, objects: entries }, null, 2))
    },
  }
  return self
}

/** What a restore left of its target. */
export type Remains = {
  readonly event: HeardEvent
  readonly before: Buffer
  readonly after: Buffer
}

/** The restore fails with this code and text; resolves to what became of a target of noise. */
export async function failedRestore(
  agent: DrivenAgent,
  record: BackupRecord,
  sizeBytes: number,
  code: ErrorCode,
  text: RegExp,
): Promise<Remains> {
  const before = noise(`target of ${record.id}`, sizeBytes)
  const volumeId = await agent.newVolume(before)
  const extra = { volume_id: volumeId }
  const event = await assertFails(agent, 'restore', { record, extra }, code, text)
  assert.equal(event.payload['backup_id'], record.id)
  assert.equal(event.payload['status'], 'available')
  return { event, before, after: await agent.readVolume(volumeId) }
}

/** The same, refused before the first write. */
export async function assertUntouched(...args: Parameters<typeof failedRestore>): Promise<void> {
  const { event, before, after } = await failedRestore(...args)
  assert.ok(before.equals(after), 'the target is as it was')
  const { target, restored_extents: extents } = event.payload
  assert.ok(target === 'untouched' || (Array.isArray(extents) && extents.length === 0))
}
