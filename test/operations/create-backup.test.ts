import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'

import { metadataName } from '#src/domain/object-names.ts'
import { driverBench } from '../support/driver-bench.ts'

test('a parent without its metadata object is no parent: the child could not be restored', async () => {
  const bench = driverBench()
  const { record: parent } = await bench.create(randomBytes(8192))
  const { container, service_metadata: prefix } = parent
  const name = metadataName(prefix ?? '')
  await bench.store.deleteObject({ container: container ?? '', name }, bench.signal)
  const before = await bench.names()

  const child = { volume_id: parent.volume_id, parent_id: parent.id }
  await assert.rejects(bench.create(randomBytes(8192), child), {
    code: 'PARENT_NOT_FOUND',
    message: `backup ${parent.id} has no metadata object ${container}/${name}: it was never finished, or it was deleted`,
  })

  assert.deepEqual(await bench.names(), before)
})

test('a parent that is whole is built upon', async () => {
  const bench = driverBench()
  const bytes = randomBytes(8192)
  const { record: parent } = await bench.create(bytes)

  const child = { volume_id: parent.volume_id, parent_id: parent.id }
  const { record } = await bench.create(bytes, child)

  assert.equal(record.object_count, 0)
})
