import assert from 'node:assert/strict'
import { test } from 'node:test'

import { recordingLog } from '#src/adapters/log/recording-log.ts'
import type { Run } from '#src/operations/operation.ts'
import { databaseVolumeMetadata, requestedVolumeMetadata } from '#src/operations/volume-metadata.ts'
import { aContext, aRequest } from '../support/builders.ts'
import { driverBench } from '../support/driver-bench.ts'
import { cinderRows } from '../support/state-rows.ts'

const signal = AbortSignal.timeout(60_000)

function runOf({ record }: ReturnType<typeof cinderRows>): Run {
  const request = aRequest('restore', record, { targetVolumeId: record.volume_id })
  return {
    job: {
      ...{ id: 'j', request, context: aContext(), record, run: 'r', starts: 1 },
      ...{ highWaterBytes: 0, started: true, device: null, ending: null },
    },
    isFirst: true,
    log: recordingLog(),
    record: () => record,
    change: async () => undefined,
    reached: () => undefined,
    progress: () => undefined,
    device: async () => null,
    keepDevice: async (found) => found,
  }
}

test('a backup keeps the rows of its volume, but not the secret of its target', async () => {
  const rows = cinderRows({
    volume: { provider_auth: 'CHAP u s3cret', launched_at: '2026-11-22T10:11:12.000Z' },
  })
  await rows.records.mergeVolumeMetadata(rows.record.volume_id, { a: 'b' }, signal)
  const { collect } = databaseVolumeMetadata({ records: rows.records, version: 2 })

  const text = (await collect(runOf(rows), signal)) ?? ''

  const { version, ...document } = JSON.parse(text)
  assert.equal(version, 2)
  assert.deepEqual(Object.keys(document), ['volume-base-metadata', 'volume-metadata'])
  assert.deepEqual(document['volume-metadata'], { a: 'b' })
  assert.equal(document['volume-base-metadata'].provider_auth, null)
  assert.equal(document['volume-base-metadata'].launched_at, '2026-11-22T10:11:12.000000')
  assert.match(text, /^\{"version": 2, "volume-base-metadata": \{"/)
})

test('a restore names the volume that looks as if it was made for it, and no other', async () => {
  for (const [name, expected] of [
    ['restore_backup_x', ['kept', 'of then']],
    ['', ['kept', 'of then']],
    ['mine', ['mine', null]],
  ] as const) {
    const rows = cinderRows({ volume: { display_name: name } })
    const { apply } = databaseVolumeMetadata({ records: rows.records, version: 2 })
    const base = { display_name: 'kept', display_description: 'of then', encryption_key_id: null }
    const document = {
      version: 2,
      'volume-base-metadata': base,
      'volume-metadata': { only: 'this' },
    }
    await rows.records.mergeVolumeMetadata(rows.record.volume_id, { gone: 'yes' }, signal)

    await apply(runOf(rows), [null, JSON.stringify(document)], signal)

    const { columns, metadata } = (await rows.records.volume(rows.record.volume_id, signal)) ?? {}
    assert.deepEqual([columns?.['display_name'], columns?.['display_description']], expected)
    assert.deepEqual(metadata, { only: 'this' })
  }
})

test('image metadata makes a volume bootable, and takes the place of what there was', async () => {
  const rows = cinderRows()
  const { apply } = databaseVolumeMetadata({ records: rows.records, version: 2 })
  const { volume_id: id } = rows.record
  await rows.records.replaceVolumeMetadata(id, 'glance', { old: '1' }, signal)
  const image = { version: 1, 'volume-glance-metadata': { min_disk: '1' } }

  await apply(runOf(rows), [JSON.stringify(image)], signal)

  assert.equal(rows.volume()['bootable'], true)
  assert.deepEqual((await rows.records.volume(id, signal))?.glanceMetadata, { min_disk: '1' })
})

test('E-03 the metadata of an encrypted volume is refused before anything is written, whatever its version', () => {
  const rows = cinderRows()
  const { check } = databaseVolumeMetadata({ records: rows.records, version: 2 })
  const plain = { version: 2, 'volume-base-metadata': { encryption_key_id: null } }
  const texts = [null, '', JSON.stringify(plain), JSON.stringify({ version: 1 })]
  check(runOf(rows), texts)

  for (const version of [1, 2]) {
    const document = { version, 'volume-base-metadata': { encryption_key_id: 'k' } }
    const refused = () => check(runOf(rows), [JSON.stringify(document), ...texts])
    assert.throws(refused, { code: 'ENCRYPTION_UNSUPPORTED' })
  }
  assert.throws(() => check(runOf(rows), ['{"version": 3}']), { code: 'MANIFEST_INVALID' })
})

test('E-03 a restore of a backup whose metadata has a key writes nothing', async () => {
  const { records } = cinderRows()
  const metadata = {
    ...databaseVolumeMetadata({ records, version: 2 }),
    collect: requestedVolumeMetadata.collect,
  }
  const bench = driverBench({ metadata })
  const base = { encryption_key_id: 'k' }
  const volumeMeta = JSON.stringify({ version: 2, 'volume-base-metadata': base })
  const { record } = await bench.create(Buffer.alloc(4096, 'secret'), { volumeMeta })
  const onto = Buffer.alloc(4096, 'as it was')

  await assert.rejects(bench.restore(record, onto), { code: 'ENCRYPTION_UNSUPPORTED' })

  assert.deepEqual(onto, Buffer.alloc(4096, 'as it was'))
})

test('of what a volume was, its name and description alone are given back; its type and the rest stay', async () => {
  for (const version of [1, 2]) {
    const rows = cinderRows({ volume: { display_name: '', volume_type_id: 'a type' } })
    const before = { ...rows.volume() }
    const base = {
      ...{ display_name: 'kept', display_description: 'of then', encryption_key_id: null },
      ...{ volume_type_id: 'another type', status: 'error', size: 99, host: 'x', bootable: true },
    }
    const { apply, check } = databaseVolumeMetadata({ records: rows.records, version: 2 })
    const document = JSON.stringify({ version, 'volume-base-metadata': base })

    check(runOf(rows), [document])
    await apply(runOf(rows), [document], signal)

    const named = { display_name: 'kept', display_description: 'of then' }
    const { updated_at: _, ...after } = rows.volume()
    assert.deepEqual(after, { ...before, ...named })
  }
})

test('the metadata of a chain is given back from the oldest on; without a name nothing is named', async () => {
  const rows = cinderRows({ volume: { display_name: '' } })
  const { apply } = databaseVolumeMetadata({ records: rows.records, version: 2 })
  const texts = [
    { 'volume-base-metadata': { display_name: 'restore_backup_full', display_description: 'a' } },
    { 'volume-base-metadata': { display_name: '', display_description: 'lost' } },
    { 'volume-base-metadata': { display_name: 'newest' }, 'volume-metadata': { of: 'third' } },
    { 'volume-base-metadata': { display_name: 'too late', display_description: 'too late' } },
  ].map((document) => JSON.stringify({ version: 1, ...document }))

  await apply(runOf(rows), texts, signal)

  const { columns, metadata } = (await rows.records.volume(rows.record.volume_id, signal)) ?? {}
  assert.equal(columns?.['display_name'], 'newest')
  assert.equal(columns?.['display_description'], 'a')
  assert.deepEqual(metadata, { of: 'third' })
})

test('a document has the version that is configured, and whatever a row may hold in JSON', async () => {
  const rows = cinderRows({
    volume: { size: 7, bootable: true, host: null, display_name: 'ä "q"' },
  })
  const { collect } = databaseVolumeMetadata({ records: rows.records, version: 1 })

  const document = JSON.parse((await collect(runOf(rows), signal)) ?? '')

  assert.equal(document.version, 1)
  const { size, bootable, host, display_name } = document['volume-base-metadata']
  assert.deepEqual([size, bootable, host, display_name], [7, true, null, 'ä "q"'])
  rows.tables.volumes.length = 0
  assert.equal(await collect(runOf(rows), signal), null)
})
