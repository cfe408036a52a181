import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'

import { memoryStore } from '#src/adapters/object-store/memory-store.ts'
import { wrapStore } from '#src/adapters/object-store/wrap-store.ts'
import { chunkName, metadataName } from '#src/domain/object-names.ts'
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

test('a full parent whose chunks end before its digests do is no parent', async () => {
  const bench = driverBench()
  const bytes = randomBytes(8192)
  const { record: parent } = await bench.create(bytes)
  const document = await bench.metadata(parent)
  const cut = JSON.stringify({ ...document, objects: document.objects.slice(0, 1) })
  const id = {
    container: parent.container ?? '',
    name: metadataName(parent.service_metadata ?? ''),
  }
  await bench.store.putObject(id, Buffer.from(cut), bench.signal)

  const child = { volume_id: parent.volume_id, parent_id: parent.id }
  await assert.rejects(bench.create(bytes, child), {
    code: 'PARENT_MISMATCH',
    message: `backup ${parent.id} cannot be a parent: it has 16 digests, and chunks for only 8 blocks; take a full backup`,
  })
})

test('a parent that is whole is built upon', async () => {
  const bench = driverBench()
  const bytes = randomBytes(8192)
  const { record: parent } = await bench.create(bytes)

  const child = { volume_id: parent.volume_id, parent_id: parent.id }
  const { record } = await bench.create(bytes, child)

  assert.equal(record.object_count, 0)
})

test('what an earlier start left comes to light late, and is gone when the backup is there', async () => {
  const store = memoryStore()
  let late: (() => Promise<unknown>) | null = null
  const bench = driverBench({
    store: wrapStore(store, async ({ method }, run) => {
      const puts = late
      late = method === 'putObject' ? null : late
      if (method === 'putObject') await puts?.() // The first removal is over.
      return run()
    }),
  })
  const { record: first } = await bench.create(randomBytes(3 * 4096))
  const { id, volume_id, container, service_metadata: prefix } = first
  const name = chunkName(prefix ?? '', 4)
  late = () => store.putObject({ container: container ?? '', name }, randomBytes(9), bench.signal)

  await bench.create(randomBytes(3 * 4096), { id, volume_id, container, service_metadata: prefix })

  const wanted = ['-00001', '-00002', '-00003', '_metadata', '_sha256file']
  assert.deepEqual(
    await bench.names(),
    wanted.map((end) => `${prefix}${end}`),
  )
})
