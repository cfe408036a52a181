import assert from 'node:assert/strict'
import { test } from 'node:test'

import { recordingLog } from '#src/adapters/log/recording-log.ts'
import type { Run } from '#src/operations/operation.ts'
import { databaseVolumeMetadata } from '#src/operations/volume-metadata.ts'
import { aContext, aRequest } from '../support/builders.ts'
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

test('image metadata makes a volume bootable; that of an encrypted volume is refused', async () => {
  const rows = cinderRows()
  const { apply } = databaseVolumeMetadata({ records: rows.records, version: 2 })
  const image = { version: 1, 'volume-glance-metadata': { min_disk: '1' } }
  const encrypted = { version: 2, 'volume-base-metadata': { encryption_key_id: 'k' } }

  await apply(runOf(rows), [JSON.stringify(image)], signal)

  assert.equal(rows.volume()['bootable'], true)
  const refused = apply(runOf(rows), [JSON.stringify(encrypted)], signal)
  await assert.rejects(refused, { code: 'ENCRYPTION_UNSUPPORTED' })
})
