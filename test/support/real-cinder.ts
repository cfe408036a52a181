import { createHash, randomUUID } from 'node:crypto'
import { open } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Json, JsonObject } from '#src/domain/json.ts'
import { cinderSql } from './cinder-rows.ts'
import { keystoneToken, type UserToken } from './keystone.ts'
import { type KeystoneUserName, services } from './services.ts'

export const gibibyte = 2 ** 30

/** What Cinder's API said no with. */
export class CinderRefusal extends Error {
  readonly status: number
  constructor(status: number, what: string) {
    super(`cinder answered ${status}: ${what}`)
    this.status = status
  }
}

/** What Cinder's API tells of a volume, a snapshot or a backup. */
export type Told = JsonObject & { readonly id: string; readonly status: string }
type Kind = 'volume' | 'snapshot' | 'backup'

export type BackupRequest = {
  readonly incremental?: boolean
  readonly snapshot_id?: string
  /** Also of a volume in use. */
  readonly force?: boolean
  readonly name?: string
  readonly container?: string
  readonly description?: string
  readonly metadata?: JsonObject
}

export type ExportedRecord = { readonly backup_service: string; readonly backup_url: string }

type WaitChoices = {
  readonly seconds?: number
  /** What it may be meanwhile; any other status fails at once. Without it only errors do. */
  readonly through?: readonly string[]
}

/** How long an operation may take on a machine that is busy with others. */
const patience = 600

/**
 * A user of the real Cinder, through its API alone; what it makes is gone after the test. Names and
 * bodies are those of Cinder's Block Storage API, version 3.
 */
export class CinderUser {
  readonly token: UserToken
  readonly #made: { readonly kind: Kind; readonly id: string }[] = []

  private constructor(token: UserToken) {
    this.token = token
  }

  /** `project`: another than the user's own, for an administrator. */
  static async login(
    user: KeystoneUserName,
    choices: { readonly project?: KeystoneUserName } = {},
  ): Promise<CinderUser> {
    return new CinderUser(await keystoneToken(user, choices))
  }

  async call(method: string, where: string, body?: JsonObject): Promise<JsonObject> {
    const answer = await fetch(`${services().cinder.url}/${this.token.projectId}${where}`, {
      method,
      headers: {
        'x-auth-token': this.token.token,
        'openstack-api-version': 'volume 3.70',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(120_000),
    })
    const text = await answer.text()
    if (!answer.ok) throw new CinderRefusal(answer.status, `${method} ${where}: ${text}`)
    return text === '' ? {} : (JSON.parse(text) as JsonObject)
  }

  async #create(kind: Kind, fields: JsonObject): Promise<string> {
    const { id } = (await this.call('POST', `/${kind}s`, { [kind]: fields }))[kind] as Told
    this.#made.push({ kind, id })
    return id
  }

  /** Null where there is none, or none for this user. */
  async find(kind: Kind, id: string): Promise<Told | null> {
    try {
      return (await this.call('GET', `/${kind}s/${id}`))[kind] as Told
    } catch (error) {
      if (error instanceof CinderRefusal && error.status === 404) return null
      throw error
    }
  }

  async get(kind: Kind, id: string): Promise<Told> {
    const found = await this.find(kind, id)
    if (found === null) throw new Error(`there is no ${kind} ${id}`)
    return found
  }

  /** Waits until the status is `wanted`; `gone` is what a deletion ends with. */
  async wait(kind: Kind, id: string, wanted: string, choices: WaitChoices = {}): Promise<void> {
    const { seconds = patience, through } = choices
    const deadline = performance.now() + seconds * 1000
    while (true) {
      const found = await this.find(kind, id)
      const status = found?.status ?? 'gone'
      if (status === wanted) return
      const isWrong = through === undefined ? status.startsWith('error') : !through.includes(status)
      if (isWrong || status === 'gone' || performance.now() > deadline) {
        const why = found?.['fail_reason'] ?? `after at most ${seconds} s`
        throw new Error(`${kind} ${id} is ${status}, not ${wanted}: ${why}`)
      }
      await sleep(100)
    }
  }

  /**
   * A scheduler that has just started, or lost its bus or its database, places nothing until the
   * volume service tells it of its backend again, which it does once a minute. What they ask each other
   * for around an outage may be lost, and is then asked for again.
   */
  async createVolume(fields: JsonObject = {}): Promise<string> {
    const deadline = performance.now() + 300_000
    const seconds = Object.keys(fields).some((name) => /_id$|^source/.test(name)) ? patience : 60
    while (true) {
      const id = await this.#create('volume', { size: 1, ...fields })
      try {
        await this.wait('volume', id, 'available', { seconds })
        return id
      } catch (error) {
        const { status } = await this.get('volume', id)
        if (!['error', 'creating'].includes(status) || performance.now() > deadline) throw error
        // The API deletes nothing that is in the making.
        await cinderSql(`UPDATE volumes SET status = 'error' WHERE id = '${id}'`)
        await this.delete('volume', id)
        await sleep(2_000)
      }
    }
  }

  async createSnapshot(volumeId: string, fields: JsonObject = {}): Promise<string> {
    const id = await this.#create('snapshot', { volume_id: volumeId, ...fields })
    await this.wait('snapshot', id, 'available')
    return id
  }

  /** As a server would: the volume is in use from then on. */
  async attach(volumeId: string): Promise<void> {
    const instance_uuid = randomUUID()
    await this.act('volume', volumeId, 'os-attach', { instance_uuid, mountpoint: '/dev/vdb' })
    await this.wait('volume', volumeId, 'in-use')
  }

  async detach(volumeId: string): Promise<void> {
    await this.act('volume', volumeId, 'os-detach', {})
    await this.wait('volume', volumeId, 'available')
  }

  /** Asks for a backup; it is `creating` then. */
  beginBackup(volumeId: string, request: BackupRequest = {}): Promise<string> {
    return this.#create('backup', { volume_id: volumeId, ...request })
  }

  async createBackup(volumeId: string, request: BackupRequest = {}): Promise<string> {
    const id = await this.beginBackup(volumeId, request)
    await this.wait('backup', id, 'available')
    return id
  }

  /** Into a volume that is there, or without one into a new volume of Cinder's; tells which. */
  async beginRestore(backupId: string, volumeId: string | null = null): Promise<string> {
    const restore = volumeId === null ? {} : { volume_id: volumeId }
    const answer = await this.call('POST', `/backups/${backupId}/restore`, { restore })
    const { volume_id: target } = answer['restore'] as { readonly volume_id: string }
    if (volumeId === null) this.#made.push({ kind: 'volume', id: target })
    return target
  }

  async restore(backupId: string, volumeId: string | null = null): Promise<string> {
    const target = await this.beginRestore(backupId, volumeId)
    await this.wait('backup', backupId, 'available')
    await this.wait('volume', target, 'available')
    return target
  }

  async delete(kind: Kind, id: string): Promise<void> {
    await this.call('DELETE', `/${kind}s/${id}`)
    await this.wait(kind, id, 'gone')
  }

  /** Of an administrator: whatever the status is. */
  async forceDelete(backupId: string): Promise<void> {
    await this.act('backup', backupId, 'os-force_delete', {})
    await this.wait('backup', backupId, 'gone', { through: ['deleting'] })
  }

  /** Of an administrator. */
  async resetStatus(backupId: string, status: string): Promise<void> {
    await this.act('backup', backupId, 'os-reset_status', { status })
    const through = ['available', 'error', 'creating', 'deleting', 'restoring']
    await this.wait('backup', backupId, status, { through })
  }

  /** Of an administrator. */
  async exportRecord(backupId: string): Promise<ExportedRecord> {
    const answer = await this.call('GET', `/backups/${backupId}/export_record`)
    return answer['backup-record'] as ExportedRecord
  }

  /** Of an administrator; into the project that this one is logged in to. */
  async importRecord(record: ExportedRecord): Promise<string> {
    const body = { 'backup-record': { ...record } }
    const { backup } = (await this.call('POST', '/backups/import_record', body)) as { backup: Told }
    this.#made.push({ kind: 'backup', id: backup.id })
    await this.wait('backup', backup.id, 'available')
    return backup.id
  }

  act(kind: Kind, id: string, action: string, fields: JsonObject): Promise<Json> {
    return this.call('POST', `/${kind}s/${id}/action`, { [action]: fields })
  }

  /** The names of a backup's objects in this user's account. */
  async objectsOf(backupId: string, container = 'volumebackups'): Promise<readonly string[]> {
    const where = `${this.token.swiftUrl}/${container}?format=json`
    const answer = await fetch(where, {
      headers: { 'x-auth-token': this.token.token },
      signal: AbortSignal.timeout(60_000),
    })
    if (answer.status === 404 || answer.status === 204) return []
    if (!answer.ok) throw new Error(`swift answered ${answer.status} to a listing`)
    const entries = (await answer.json()) as readonly { readonly name: string }[]
    return entries.map(({ name }) => name).filter((name) => name.includes(backupId))
  }

  /** Behind Cinder's back. */
  async removeObjectsOf(backupId: string, container = 'volumebackups'): Promise<void> {
    for (const name of await this.objectsOf(backupId, container)) {
      const answer = await fetch(`${this.token.swiftUrl}/${container}/${name}`, {
        method: 'DELETE',
        headers: { 'x-auth-token': this.token.token },
        signal: AbortSignal.timeout(60_000),
      })
      if (!answer.ok) throw new Error(`swift answered ${answer.status} to the deletion of ${name}`)
    }
  }

  /** Removes what is left of all that was made here; youngest first, for they lean on the older. */
  async removeAll(): Promise<void> {
    for (const { kind, id } of this.#made.toReversed()) {
      const found = await this.find(kind, id)
      if (found?.status === 'in-use') await this.detach(id)
      if (found !== null) await this.#deleteWhenServed(kind, id)
    }
    this.#made.length = 0
  }

  /** Right after a long outage Cinder's API takes the service for one that is down, until its next heartbeat. */
  async #deleteWhenServed(kind: Kind, id: string): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.delete(kind, id)
      } catch (error) {
        const isDown = /Service cinder-backup could not be found/.test(String(error))
        if (!isDown || tries === 60) throw error
      }
      await sleep(1000)
    }
  }
}

/** The file behind a volume. */
export function volumeFile(id: string): string {
  return path.join(services().cinder.volumes, `volume-${id}`)
}

/** Writes as the server does that the volume is attached to. */
export async function writeVolume(id: string, bytes: Uint8Array, offset: number): Promise<void> {
  await using file = await open(volumeFile(id), 'r+')
  await file.write(bytes, 0, bytes.length, offset)
}

const piece = 2 ** 20
const noBytes = Buffer.alloc(piece)

/**
 * A SHA-256 of all that a volume holds: of its size, and of each MiB with its place that is not all
 * zeros, for most of a volume here is a hole, and to hash zeros takes ten times as long as to see them.
 */
export async function sumOf(volumeId: string): Promise<string> {
  const hash = createHash('sha256')
  const buffer = Buffer.alloc(piece)
  await using file = await open(volumeFile(volumeId))
  let at = 0
  while (true) {
    const { bytesRead } = await file.read(buffer, 0, piece, at)
    if (bytesRead === 0) break
    const bytes = buffer.subarray(0, bytesRead)
    if (!bytes.equals(noBytes.subarray(0, bytesRead)))
      hash.update(`${at} ${bytesRead} `).update(bytes)
    at += bytesRead
  }
  return hash.update(`of ${at}`).digest('hex')
}
