import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import type { BackupRecord } from '#src/domain/backup-record.ts'
import { metadataName } from '#src/domain/object-names.ts'
import { aRecord, aRequest } from '../support/builders.ts'
import { driverBench } from '../support/driver-bench.ts'
import { noise } from '../support/volume-data.ts'

/** As Cinder's API makes it before it asks for an import. */
function toImport(id: string): BackupRecord {
  return aRecord({
    id,
    volume_id: '00000000-0000-0000-0000-000000000000',
    project_id: 'project-of-the-importer',
    user_id: 'importer',
    size: 0,
    host: null,
    display_name: null,
  })
}

const importing = (imported: BackupRecord) =>
  aRequest('import', toImport(imported.id), { imported })

test('an imported record is that of the export, but belongs to who imports it', async () => {
  const bench = driverBench()
  const { record } = await bench.create(noise('import', 9000), { display_name: 'nightly' })
  const exported = { ...record, user_id: 'u', project_id: 'p', host: 'gone', fail_reason: 'x' }

  const { record: now } = await bench.run(
    importing({ ...exported, availability_zone: 'other', service: 'cinder.backup.drivers.swift' }),
  )

  const { user_id, project_id } = toImport(record.id)
  const expected = { ...record, user_id, project_id, host: 'host-1', fail_reason: null }
  assert.deepEqual({ ...now, status: expected.status }, expected)
})

test('the parent is that of the metadata object, whatever the record forgot', async () => {
  const bench = driverBench()
  const full = await bench.create(noise('parent', 9000))
  const { record: child } = await bench.create(noise('child', 9000), {
    volume_id: full.record.volume_id,
    parent_id: full.record.id,
  })

  const { record } = await bench.run(importing({ ...child, parent_id: null }))

  assert.equal(record.parent_id, full.record.id)
})

test('a record whose metadata object is not there is not imported', async () => {
  const bench = driverBench()
  const { record } = await bench.create(noise('gone', 9000))
  const name = metadataName(record.service_metadata ?? '')
  await bench.store.deleteObject({ container: 'volumebackups', name }, bench.signal)

  await assert.rejects(bench.run(importing(record)), {
    code: 'BACKUP_NOT_FOUND',
    message: new RegExp(`has no metadata object volumebackups/${name}`),
  })
})

test('a record that points to another backup is not imported', async () => {
  const bench = driverBench()
  const { record } = await bench.create(noise('of another', 9000))
  const id = randomUUID()
  const elsewhere = String(record.service_metadata).replace(record.id, id)

  await assert.rejects(bench.run(importing({ ...record, id })), { code: 'RECORD_MISMATCH' })
  await assert.rejects(bench.run(importing({ ...record, id, service_metadata: elsewhere })), {
    code: 'BACKUP_NOT_FOUND',
  })
})

test('a metadata object that names another backup is not believed', async () => {
  const bench = driverBench()
  const { record } = await bench.create(noise('forged', 9000))
  const id = randomUUID()
  const prefix = String(record.service_metadata)
  const forged = prefix.replace(record.id, id)
  const text = await bench.object(record.container, metadataName(prefix))
  const object = { container: 'volumebackups', name: metadataName(forged) }
  await bench.store.putObject(object, text, bench.signal)

  await assert.rejects(bench.run(importing({ ...record, id, service_metadata: forged })), {
    code: 'MANIFEST_INVALID',
    message: new RegExp(record.id),
  })
})

for (const field of ['container', 'service_metadata'] as const) {
  test(`a record without its ${field} is not imported`, async () => {
    const bench = driverBench()
    const { record } = await bench.create(noise('placeless', 9000))

    await assert.rejects(bench.run(importing({ ...record, [field]: null })), {
      code: 'BACKUP_NOT_FOUND',
    })
  })
}

test('an import that fails has the host that tried it, so that others know whose it is', async () => {
  const bench = driverBench()
  const { record } = await bench.create(noise('in vain', 9000))
  await bench.remove(record)

  await assert.rejects(bench.run(importing(record)), { code: 'BACKUP_NOT_FOUND' })

  assert.equal(bench.records.get(record.id)?.host, 'host-1')
})

test('a backup that was imported in vain can be deleted, with what lies where it was before', async () => {
  const bench = driverBench()
  const { record } = await bench.create(noise('revived', 9000))
  const other = await bench.create(noise('of another', 9000))
  const before = await bench.names()
  const revived = { ...record, volume_id: toImport(record.id).volume_id, status: 'error' } as const

  const foreign = { ...revived, service_metadata: other.record.service_metadata }
  await assert.rejects(bench.remove(foreign), { code: 'RECORD_MISMATCH' })
  await assert.rejects(bench.remove({ ...revived, service_metadata: 'volume_' }), {
    code: 'RECORD_MISMATCH',
  })
  assert.deepEqual(await bench.names(), before)
  const { record: removed } = await bench.remove(revived)

  assert.equal(removed.deleted, true)
  const prefix = String(record.service_metadata)
  assert.deepEqual(
    await bench.names(),
    before.filter((name) => !name.startsWith(prefix)),
  )
})
