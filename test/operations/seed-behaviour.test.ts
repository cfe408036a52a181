// What the driver of 2014 did, and what became of it: see docs/compatibility.md.

import assert from 'node:assert/strict'
import { hash, randomBytes, randomUUID } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { inflateSync } from 'node:zlib'

import { memoryStore } from '#src/adapters/object-store/memory-store.ts'
import { type Around, wrapStore } from '#src/adapters/object-store/wrap-store.ts'
import { AgentError } from '#src/domain/errors.ts'
import type { Volumes } from '#src/ports/volumes.ts'

import { aRecord } from '../support/builders.ts'
import { blockBytes, driverBench, entriesOf, windowBytes } from '../support/driver-bench.ts'
import { seedCompressions, writeSeedBackup } from '../support/seed-writer.ts'

/** Text that compresses, noise that does not, zeros, and half a window more. */
function mixedVolume(): Buffer {
  const text = Buffer.alloc(windowBytes, 'the quick brown fox ')
  const end = Buffer.alloc(windowBytes / 2, 'end')
  return Buffer.concat([text, randomBytes(windowBytes), Buffer.alloc(windowBytes), end])
}

const uuid = '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}'

test('container and prefix are noted before the first request that could leave something', async () => {
  const noted: unknown[] = []
  const around: Around = (call, run) => {
    if (call.method === 'ensureContainer' || call.method === 'putObject') {
      noted.push([...bench.records.values()].map((one) => [one.container, one.service_metadata]))
    }
    return run()
  }
  const bench = driverBench({ store: wrapStore(memoryStore(), around) })

  const { record } = await bench.create(mixedVolume())

  assert.ok(noted.length >= 7) // The container, four chunks, two documents.
  for (const one of noted) assert.deepEqual(one, [[record.container, record.service_metadata]])
})

test('the prefix holds volume, time of the start in UTC, availability zone and backup', async () => {
  const bench = driverBench()
  const before = new Date().toISOString()

  const { record } = await bench.create(mixedVolume())

  const shape = new RegExp(`^volume_(${uuid})/(\\d{14})/az_nova_backup_(${uuid})$`)
  const [, volumeId, , stamp, backupId] = shape.exec(record.service_metadata ?? '') ?? []
  assert.deepEqual([volumeId, backupId], [record.volume_id, record.id])
  const stampOf = (iso: string) => iso.replaceAll(/\D/g, '').slice(0, 14)
  assert.ok(stamp !== undefined && stamp >= stampOf(before))
  assert.ok(stamp <= stampOf(new Date().toISOString()))
  assert.equal(record.availability_zone, 'nova')
})

test("the record's container wins over the option's", async () => {
  const bench = driverBench()

  const { record } = await bench.create(mixedVolume(), { container: 'mine' })

  assert.equal(record.container, 'mine')
  assert.equal((await bench.names('mine')).length, 6)
  assert.deepEqual(await bench.names('volumebackups'), [])
})

test('a volume of 0 GiB is refused before anything is stored', async () => {
  const bench = driverBench()

  await assert.rejects(bench.create(mixedVolume(), { size: 0 }), { code: 'VOLUME_INVALID_SIZE' })

  assert.deepEqual(await bench.names(), [])
})

test('a chunk has its start as offset, and length and md5 of its plain bytes', async () => {
  const bench = driverBench({ compression: 'zlib' })
  const volume = mixedVolume()

  const { record } = await bench.create(volume)

  const entries = entriesOf(await bench.metadata(record))
  assert.equal(entries.length, 4)
  let end = 0
  for (const { offset, length, md5 } of entries) {
    assert.equal(offset, end)
    end += length
    assert.equal(md5, hash('md5', volume.subarray(offset, end)))
  }
  assert.equal(end, volume.byteLength)
})

test('gzip means a zlib stream, and never a gzip file', async () => {
  const bench = driverBench({ compression: 'gzip' })
  const volume = mixedVolume()

  const { record } = await bench.create(volume)

  const [first] = entriesOf(await bench.metadata(record))
  const stored = await bench.object(record.container, first?.name ?? '')
  assert.equal(first?.compression, 'gzip')
  assert.equal(stored[0], 0x78) // RFC 1950; a gzip file begins with 1f 8b.
  assert.deepEqual(inflateSync(stored), volume.subarray(0, windowBytes))
})

test('a chunk that compressing does not make smaller is stored plain, as none', async () => {
  const bench = driverBench({ compression: 'zlib' })
  const volume = mixedVolume()

  const { record } = await bench.create(volume)

  const [, noise] = entriesOf(await bench.metadata(record))
  const stored = await bench.object(record.container, noise?.name ?? '')
  assert.equal(noise?.compression, 'none')
  assert.deepEqual(stored, volume.subarray(windowBytes, 2 * windowBytes))
})

test('the metadata object has the keys of today, volume metadata as text in text', async () => {
  const bench = driverBench()
  const volumeMeta = '{"version": 2, "volume-metadata": {"k": "v"}}'

  const { record } = await bench.create(mixedVolume(), { volumeMeta, display_name: 'nächtlich' })

  const metadata = await bench.metadata(record)
  assert.deepEqual(Object.keys(metadata), [
    ...['backup_description', 'backup_id', 'backup_name', 'created_at', 'objects'],
    ...['parent_id', 'version', 'volume_id', 'volume_meta'],
  ])
  const { objects, ...rest } = metadata
  assert.deepEqual(rest, {
    backup_description: null,
    backup_id: record.id,
    backup_name: 'nächtlich',
    created_at: '2026-11-22 10:11:12+00:00',
    parent_id: null,
    version: '1.0.0',
    volume_id: record.volume_id,
    volume_meta: volumeMeta,
  })
})

test('object_count is the number of chunks, and the sha256file has a digest for each block', async () => {
  const bench = driverBench()
  const volume = mixedVolume()

  const { record } = await bench.create(volume)

  const file = await bench.object(record.container, `${record.service_metadata}_sha256file`)
  const { chunk_size, sha256s } = JSON.parse(String(file))
  assert.equal(record.object_count, 4)
  assert.equal(chunk_size, blockBytes)
  assert.equal(sha256s.length, volume.byteLength / blockBytes)
  assert.equal(sha256s[1], hash('sha256', volume.subarray(blockBytes, 2 * blockBytes)))
})

test('an incremental of an unchanged volume has no chunks and both documents', async () => {
  const bench = driverBench()
  const volume = mixedVolume()
  const { record: full } = await bench.create(volume)
  const parent = { volume_id: full.volume_id, parent_id: full.id }

  const { record } = await bench.create(volume, parent)

  assert.equal(record.object_count, 0)
  assert.deepEqual((await bench.metadata(record)).objects, [])
  const prefix = record.service_metadata ?? ''
  const names = await bench.names('volumebackups', prefix)
  assert.deepEqual(names, [`${prefix}_metadata`, `${prefix}_sha256file`])
})

test('other work gets its turn between the chunks of a backup', async () => {
  const bench = driverBench()
  let turns = 0
  let isDone = false
  const count = () => {
    turns += 1
    if (!isDone) setImmediate(count)
  }
  setImmediate(count)

  await bench.create(randomBytes(128 * windowBytes))
  isDone = true

  assert.ok(turns >= 128, `${turns} turns`)
})

test('a backup that fails leaves its objects, and deleting it removes them all', async () => {
  const full = new AgentError('STORE_FULL', 'made up')
  const around: Around = (call, run) =>
    call.name?.endsWith('_sha256file') ? Promise.reject(full) : run()
  const store = memoryStore()
  const failing = driverBench({ store: wrapStore(store, around) })
  const record = aRecord()

  await assert.rejects(failing.create(mixedVolume(), record), full)
  const left = failing.records.get(record.id) ?? record
  const bench = driverBench({ store })
  const before = await bench.names()
  const { record: deleted } = await bench.remove({ ...left, status: 'error' })

  assert.equal(before.length, 4)
  assert.deepEqual(await bench.names(), [])
  assert.equal(deleted.deleted, true)
})

test('an object that is missing fails the restore, and one that is not named is reported', async () => {
  const bench = driverBench()
  const { record } = await bench.create(mixedVolume())
  const { container, service_metadata: prefix } = record
  const put = (name: string) =>
    bench.store.putObject({ container: container ?? '', name }, Buffer.from('?'), bench.signal)

  await put(`${prefix}-00077`)
  await bench.restore(record, new Uint8Array(4 * windowBytes))
  const strays = bench.log.lines.filter(({ message }) => message.includes('does not name'))
  await bench.store.deleteObject(
    { container: container ?? '', name: `${prefix}-00002` },
    bench.signal,
  )
  const again = bench.restore(record, new Uint8Array(4 * windowBytes))

  await assert.rejects(again, { code: 'OBJECT_NOT_FOUND' })
  assert.equal(strays.length, 1)
  assert.equal(strays[0]?.level, 'warn')
})

test('a chunk that was altered in the store is not written', async () => {
  const bench = driverBench({ compression: 'none' })
  const { record } = await bench.create(randomBytes(windowBytes))
  const [chunk] = entriesOf(await bench.metadata(record))
  const id = { container: record.container ?? '', name: chunk?.name ?? '' }
  const bytes = await bench.object(id.container, id.name)
  bytes.writeUInt8(bytes.readUInt8(1000) ^ 1, 1000)
  await bench.store.putObject(id, bytes, bench.signal)
  const target = new Uint8Array(windowBytes).fill(0xee)

  await assert.rejects(bench.restore(record, target), { code: 'CHUNK_CORRUPT' })

  assert.ok(target.every((byte) => byte === 0xee))
})

test('a restore ends with its bytes on stable storage, and hands volume metadata back', async () => {
  const steps: string[] = []
  const wrapVolumes = (volumes: Volumes): Volumes => ({
    ...volumes,
    async openTarget(id, signal) {
      const target = await volumes.openTarget(id, signal)
      return {
        ...target,
        write(offset, data) {
          steps.push('write')
          return target.write(offset, data)
        },
        sync() {
          steps.push('sync')
          return target.sync()
        },
      }
    },
  })
  const bench = driverBench({ wrapVolumes })
  const volume = mixedVolume()
  const volumeMeta = '{"version": 1, "volume-metadata": {"k": "v"}}'
  const { record } = await bench.create(volume, { volumeMeta })
  const onto = new Uint8Array(volume.byteLength)

  const { extra } = await bench.restore(record, onto)

  assert.deepEqual(Buffer.from(onto), volume)
  assert.ok(steps.includes('write'))
  assert.equal(steps.at(-1), 'sync')
  assert.deepEqual(extra?.['volume_meta'], { version: 1, 'volume-metadata': { k: 'v' } })
})

test('a backup without container or prefix is deleted without asking the store', async () => {
  let calls = 0
  const around: Around = (_call, run) => {
    calls += 1
    return run()
  }
  const bench = driverBench({ store: wrapStore(memoryStore(), around) })

  const { record } = await bench.remove(aRecord({ status: 'error' }))
  const service_metadata = `volume_${record.volume_id}/20261123002552/az_nova_backup_${record.id}`
  await bench.remove({ ...record, service_metadata, container: null })

  assert.equal(record.deleted, true)
  assert.equal(calls, 0)
})

test('a prefix that is empty or not of the backup itself removes nothing', async () => {
  const bench = driverBench()
  const { record } = await bench.create(mixedVolume())
  const other = randomUUID()
  for (const prefix of [
    '',
    'volume_',
    `volume_${record.volume_id}/`,
    record.service_metadata?.replaceAll(record.id, other) ?? '',
    record.service_metadata?.replaceAll(record.volume_id, other) ?? '',
  ]) {
    const removing = bench.remove({ ...record, service_metadata: prefix })
    await assert.rejects(removing, { code: 'RECORD_MISMATCH' })
  }
  assert.equal((await bench.names()).length, 6)
})

for (const compression of seedCompressions) {
  test(`a backup that the seed wrote with ${compression} restores to the bytes it was made of`, async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'seed-backup-'))
    try {
      const volume = Buffer.concat([mixedVolume(), randomBytes(333)])
      await writeFile(`${folder}/volume`, volume)
      const ids = { volumeId: randomUUID(), backupId: randomUUID() }
      const { objects, record } = await writeSeedBackup({
        volumeFile: `${folder}/volume`,
        outFolder: `${folder}/objects`,
        era: 'icehouse',
        compression,
        chunkBytes: 3000,
        ...ids,
      })
      const bench = driverBench()
      const container = record.container ?? 'volumebackups'
      await bench.store.ensureContainer(container, bench.signal)
      for (const { name } of objects) {
        const bytes = await readFile(`${folder}/objects/${name}`)
        await bench.store.putObject({ container, name }, bytes, bench.signal)
      }
      const target = new Uint8Array(volume.byteLength + 100).fill(0xee)

      await bench.restore({ ...record, container, status: 'restoring' }, target)

      assert.deepEqual(Buffer.from(target.subarray(0, volume.byteLength)), volume)
      assert.ok(target.subarray(volume.byteLength).every((byte) => byte === 0xee))
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
}
