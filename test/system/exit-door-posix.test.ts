import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'

import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { ObjectStore } from '#src/ports/object-store.ts'
import { collectingSink } from '../contracts/object-store.ts'
import { aChain, addBackup, never, restoreChain } from '../support/chains.ts'
import { type CinderStore, startCinderDriver } from '../support/cinder-driver.ts'
import { blockBytes, chunkBytes, drivenAgent, wholeFile } from '../support/driven-agent.ts'
import { assertCinderRestores, type BackupChain, threeDays } from '../support/exit-door.ts'
import { changedBytes, diskBytes, noise, sha256 } from '../support/volume-data.ts'

// The same with Debian's real posix driver, and both ways.

const cinder = startCinderDriver()
wholeFile.after(() => cinder[Symbol.asyncDispose]())

const oddBytes = 4 * chunkBytes + blockBytes + 333
const sizes = { backup_file_size: chunkBytes, backup_sha_block_size_bytes: blockBytes }
const codecs = ['none', 'zlib', 'bz2', 'zstd']

for (const codec of codecs) {
  test(`a POSIX store with ${codec}: ours restored by Cinder's driver, theirs by us`, async (t) => {
    const agent = await drivenAgent(t, { DEFAULT: { backup_compression_algorithm: codec } })
    const store: CinderStore = { driver: 'posix', path: agent.home.store }
    const options = { ...sizes, backup_compression_algorithm: codec }

    const ours = await threeDays(agent, codec, oddBytes)
    for (const link of ours) await assertCinderRestores(cinder, store, link, agent.home.folder)

    const bytes = diskBytes(`theirs ${codec}`, oddBytes)
    const volumeId = await agent.newVolume(bytes)
    const file = agent.volumeFile(volumeId)
    const volume_meta = '{"version": 2, "volume-metadata": {}}'
    const chain = [agent.asked(volumeId)] as const
    const { record } = await cinder.backup({ store, options, chain, file, volume_meta })
    const target = await agent.newVolume(noise('dirt', oddBytes))
    const { payload } = await agent.runWell('restore', record, { volume_id: target })
    assert.equal(sha256(await agent.readVolume(target)), sha256(bytes))
    assert.deepEqual(payload['volume_meta'], JSON.parse(volume_meta))
    await agent.runWell('delete', record)
    const container = path.join(agent.home.store, record.container ?? '-')
    assert.deepEqual(await readdir(container).catch(() => []), [])
  })
}

test('a POSIX chain of ours, theirs, ours and theirs restores by either', async (t) => {
  const agent = await drivenAgent(t)
  const store: CinderStore = { driver: 'posix', path: agent.home.store }
  const volumeId = await agent.newVolume(diskBytes('mixed', oddBytes))
  const file = agent.volumeFile(volumeId)
  const chain: BackupRecord[] = []

  for (const day of [0, 1, 2, 3]) {
    const parent_id = chain.at(-1)?.id ?? null
    if (day > 0) {
      await agent.writeVolume(volumeId, changedBytes(await agent.readVolume(volumeId), `${day}`))
    }
    const isOurs = day % 2 === 0
    const theirs = async () => {
      const child = agent.asked(volumeId, { parent_id })
      const whole = [...chain, child] as unknown as BackupChain
      return (await cinder.backup({ store, options: sizes, chain: whole, file })).record
    }
    chain.push(isOurs ? await agent.backup(volumeId, { fields: { parent_id } }) : await theirs())
  }

  const last = chain.at(-1)
  assert.ok(last)
  const bytes = await agent.readVolume(volumeId)
  const whole = chain as unknown as BackupChain
  await assertCinderRestores(cinder, store, { chain: whole, bytes }, agent.home.folder)
  assert.equal(sha256(await agent.restore(last, noise('dirt', oddBytes))), sha256(bytes))
})

test('files and folders have the modes that Cinder gives them', async (t) => {
  const agent = await drivenAgent(t)

  const { container, service_metadata: prefix } = await agent.backup(
    await agent.newVolume(noise('modes', 1000)),
  )

  const folder = path.join(agent.home.store, container ?? '-')
  const mode = async (name: string) =>
    ((await stat(path.join(folder, name))).mode & 0o777).toString(8)
  assert.equal(await mode('.'), '770')
  for (const name of ['-00001', '_sha256file', '_metadata']) {
    assert.equal(await mode(`${prefix}${name}`), '660')
  }
})

test("Cinder's driver restores our incremental of a volume that did not change", async (t) => {
  const agent = await drivenAgent(t)
  const store: CinderStore = { driver: 'posix', path: agent.home.store }
  const bytes = diskBytes('unchanged', oddBytes)
  const volumeId = await agent.newVolume(bytes)
  const full = await agent.backup(volumeId)

  const same = await agent.backup(volumeId, { fields: { parent_id: full.id } })

  assert.equal(same.object_count, 0)
  await assertCinderRestores(cinder, store, { chain: [full, same], bytes }, agent.home.folder)
})

/** Every object of a container as a file. */
async function copyToFolder(store: ObjectStore, container: string, folder: string): Promise<void> {
  await mkdir(folder)
  for (let after = ''; ; ) {
    const page = await store.listPage(container, '', after, never)
    for (const { name } of page) {
      const sink = collectingSink()
      await store.getObject({ container, name }, sink, never)
      await writeFile(path.join(folder, name), sink.bytes())
    }
    if (page.length === 0) return
    after = page.at(-1)?.name ?? ''
  }
}

test("Cinder's driver restores chunks of ours whose numbers have five and six digits", async (t) => {
  const bytes = noise('six digits', 5 * 4096 + 1)
  const chain = await aChain()
  // With `compat` a full backup is numbered by its windows, and would need a hundred thousand.
  const numbers = { zeroChunks: 'sparse', lastNumber: 99_997 } as const
  const made = await addBackup(chain, bytes, { driver: 'posix', ...numbers })
  const [{ container = '', prefix = '' } = {}] = chain.places
  const record = { ...made, service_metadata: prefix, object_count: 6 }
  const folder = await mkdtemp(path.join(tmpdir(), 'cba-digits-'))
  t.after(() => rm(folder, { recursive: true }))
  await copyToFolder(chain.store, container, path.join(folder, container))
  const names = await readdir(path.join(folder, container))
  assert.ok(names.includes(`${prefix}-99998`) && names.includes(`${prefix}-100003`), `${names}`)
  const store: CinderStore = { driver: 'posix', path: folder }

  await assertCinderRestores(cinder, store, { chain: [record], bytes }, folder)

  const target = Buffer.alloc(bytes.byteLength)
  await restoreChain(chain.store, chain.places, target)
  assert.equal(sha256(target), sha256(bytes), 'and so do we')
})
