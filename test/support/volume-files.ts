import { createHash, randomInt, randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, truncate, writeFile } from 'node:fs/promises'
import path from 'node:path'
import process from 'node:process'
import type { TestContext } from 'node:test'

import type { AgentHome } from './agent.ts'
import { noise } from './volume-data.ts'

/** A seed that the test tells of; CBA_SEED gives one. */
export function testSeed(t: Pick<TestContext, 'diagnostic'>): string {
  const seed = process.env['CBA_SEED'] ?? String(randomInt(2 ** 31))
  t.diagnostic(`seed ${seed}; CBA_SEED=${seed} repeats it`)
  return seed
}

/** Numbers in [0, 1), the same for the same seed. */
export function randomOf(seed: string): () => number {
  const blockBytes = 4 * 4096
  let blocks = 0
  let block = noise(seed, blockBytes)
  let at = 0
  return () => {
    if (at === blockBytes) {
      blocks += 1
      block = noise(`${seed} ${blocks}`, blockBytes)
      at = 0
    }
    at += 4
    return block.readUInt32LE(at - 4) / 2 ** 32
  }
}

export function volumeFile({ volumes }: AgentHome, id: string): string {
  return path.join(volumes, `volume-${id}`)
}

/** A new volume that holds `data`. */
export async function volumeWith(home: AgentHome, data: Uint8Array): Promise<string> {
  const id = randomUUID()
  await writeFile(volumeFile(home, id), data)
  return id
}

/** A new volume of zeros that takes no space. */
export async function emptyVolume(home: AgentHome, sizeBytes: number): Promise<string> {
  const id = randomUUID()
  await writeFile(volumeFile(home, id), '')
  await truncate(volumeFile(home, id), sizeBytes)
  return id
}

export async function sha256Of(file: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const piece of createReadStream(file, { highWaterMark: 2 ** 20 })) hash.update(piece)
  return hash.digest('hex')
}

/** The names of all files of a POSIX store, hidden ones too, from its root. */
export async function storedFiles({ store }: AgentHome): Promise<readonly string[]> {
  const entries = await readdir(store, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(store, path.join(entry.parentPath, entry.name)))
    .sort()
}
