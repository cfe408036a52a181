import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'

import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { CinderDriver, CinderStore } from './cinder-driver.ts'
import type { DrivenAgent } from './driven-agent.ts'
import { changedBytes, diskBytes, noise, sha256 } from './volume-data.ts'

export type BackupChain = readonly [BackupRecord, ...BackupRecord[]]

/** One day of a volume, and the chain that brings it back. */
export type Link = { readonly chain: BackupChain; readonly bytes: Buffer }

/** A full backup and two incrementals of a volume of this size, made by the agent. */
export async function threeDays(
  agent: DrivenAgent,
  seed: string,
  sizeBytes: number,
): Promise<readonly Link[]> {
  const volumeId = await agent.newVolume(diskBytes(seed, sizeBytes))
  const links: Link[] = []
  for (const day of [0, 1, 2]) {
    const before = links.at(-1)
    const bytes =
      before === undefined
        ? await agent.readVolume(volumeId)
        : changedBytes(before.bytes, `${seed} ${day}`)
    await agent.writeVolume(volumeId, bytes)
    const parent_id = before?.chain.at(-1)?.id ?? null
    const record = await agent.backup(volumeId, { fields: { parent_id } })
    links.push({ bytes, chain: before === undefined ? [record] : [...before.chain, record] })
  }
  return links
}

/** Fails unless Cinder's own driver brings the day back, onto a zeroed and onto a dirty volume. */
export async function assertCinderRestores(
  cinder: CinderDriver,
  store: CinderStore,
  { chain, bytes }: Link,
  folder: string,
): Promise<void> {
  const file = path.join(folder, 'cinder-target')
  const targets = [Buffer.alloc(bytes.byteLength), noise('dirt', bytes.byteLength)]
  for (const [index, target] of targets.entries()) {
    await writeFile(file, target)
    await cinder.restore({ store, chain, file })
    const restored = sha256(await readFile(file))
    assert.equal(restored, sha256(bytes), `link ${chain.length} onto ${['zeros', 'dirt'][index]}`)
  }
}
