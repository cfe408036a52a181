import assert from 'node:assert/strict'
import { hash, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import zlib from 'node:zlib'

import { memoryStore } from '#src/adapters/object-store/memory-store.ts'
import { wrapStore } from '#src/adapters/object-store/wrap-store.ts'
import { memorySpool } from '#src/adapters/spool/memory-spool.ts'
import { memoryVolumes } from '#src/adapters/volumes/memory-volumes.ts'
import { AgentError, hasCode } from '#src/domain/errors.ts'
import { extentSet } from '#src/domain/extents.ts'
import { metadataName, sha256fileName } from '#src/domain/object-names.ts'
import type { BackupPlace } from '#src/engine/read-manifest.ts'
import { readMetadata, readParentDigests } from '#src/engine/read-manifest.ts'
import type { ObjectStore } from '#src/ports/object-store.ts'
import type { VolumeWriter } from '#src/ports/volumes.ts'

import {
  aChain,
  addBackup,
  container,
  never,
  restoreChain,
  restoreOnto,
} from '../support/chains.ts'

const dirt = 0xee
const streamed = { memoryMax: 1024, workers: 1 } // Chunks of 4096 bytes are not held.

async function bytesOf(store: ObjectStore, name: string): Promise<Buffer> {
  const pieces: Buffer[] = []
  const write = (piece: Uint8Array) => void pieces.push(Buffer.from(piece))
  await store.getObject({ container, name }, { start: () => {}, write }, never)
  return Buffer.concat(pieces)
}

/** A chain of one full backup of `bytes`, and the name of its second chunk. */
async function aBackup(bytes: Uint8Array, compression: 'none' | 'zlib' = 'none') {
  const chain = await aChain()
  await addBackup(chain, bytes, { compression })
  const place = chain.places[0] as BackupPlace
  return { ...chain, second: `${place.prefix}-00002` }
}

for (const [how, options] of [
  ['a chunk', {}],
  ['a chunk too large to hold', streamed],
] as const) {
  test(`${how} that was changed in the store is told with its name and place`, async () => {
    const bytes = randomBytes(12_000)
    const { store, places, second } = await aBackup(bytes)
    const changed = await bytesOf(store, second)
    changed.writeUInt8(changed.readUInt8(1000) ^ 1, 1000)
    await store.putObject({ container, name: second }, changed, never)
    const target = Buffer.alloc(12_000, dirt)
    const restored = extentSet()

    await assert.rejects(restoreChain(store, places, target, { ...options, restored }), (error) => {
      assert.ok(hasCode(error, 'CHUNK_CORRUPT'))
      assert.ok(error.message.includes(second))
      assert.match(
        error.message,
        /offset 4096, 4096 bytes.*( md5 is .*, and should be | sha256file says otherwise )/,
      )
      const badExtent = { offsetBytes: 4096, lengthBytes: 4096 }
      assert.deepEqual(error.context['badExtent'], how === 'a chunk' ? undefined : badExtent)
      return true
    })

    for (const { offsetBytes, lengthBytes } of restored.list(99).extents) {
      const end = offsetBytes + lengthBytes
      assert.ok(offsetBytes >= 8192 || end <= 4096)
      assert.ok(target.subarray(offsetBytes, end).equals(bytes.subarray(offsetBytes, end)))
    }
    if (how === 'a chunk') {
      assert.ok(target.subarray(4096, 8192).equals(Buffer.alloc(4096, dirt)))
    }
  })

  test(`${how} that is truncated or too long is corrupt`, async () => {
    for (const compression of ['none', 'zlib'] as const) {
      const { store, places, second } = await aBackup(Buffer.alloc(12_000, 'abc'), compression)
      const body = await bytesOf(store, second)
      for (const wrong of [
        body.subarray(0, -1),
        Buffer.concat([body, Buffer.alloc(1)]),
        Buffer.concat([body, Buffer.alloc(100_000)]),
      ]) {
        await store.putObject({ container, name: second }, wrong, never)
        await assert.rejects(restoreChain(store, places, Buffer.alloc(12_000), options), (error) =>
          hasCode(error, 'CHUNK_CORRUPT'),
        )
      }
    }
  })

  test(`${how} that is missing is told as OBJECT_NOT_FOUND`, async () => {
    const { store, places, second } = await aBackup(randomBytes(12_000))
    await store.deleteObject({ container, name: second }, never)

    await assert.rejects(restoreChain(store, places, Buffer.alloc(12_000), options), (error) => {
      return hasCode(error, 'OBJECT_NOT_FOUND') && error.message.includes(`${second} (offset 4096`)
    })
  })

  test(`${how} whose transfer broke is right after the second try`, async () => {
    const bytes = randomBytes(12_000)
    for (const compression of ['none', 'zlib'] as const) {
      const { store, places } = await aBackup(bytes, compression)
      const target = Buffer.alloc(12_000, dirt)

      await restoreChain(secondTry(store), places, target, options)

      assert.ok(target.equals(bytes))
    }
  })

  test(`${how} whose md5 is that of the stored bytes, as before Liberty, is restored`, async () => {
    const bytes = Buffer.alloc(12_000, 'abc')
    const { store, places } = await aBackup(bytes, 'zlib')
    const name = metadataName(places[0]?.prefix ?? '')
    let metadata = (await bytesOf(store, name)).toString()
    for (const entry of await store.listPage(container, `${places[0]?.prefix}-`, '', never)) {
      const plain = zlib.inflateSync(await bytesOf(store, entry.name))
      metadata = metadata.replace(hash('md5', plain), entry.md5 ?? '')
    }
    await store.putObject({ container, name }, Buffer.from(metadata), never)
    const target = Buffer.alloc(12_000, dirt)

    await restoreChain(store, places, target, options)

    assert.ok(target.equals(bytes))
  })
}

/** Gives garbage first and begins anew, as a retrying store does after a broken transfer. */
function secondTry(store: ObjectStore): ObjectStore {
  return {
    ...store,
    async getObject(id, sink, signal) {
      await sink.start()
      await sink.write(randomBytes(50))
      return store.getObject(id, sink, signal)
    },
  }
}

test('a volume that is too small is refused before anything is written', async () => {
  const { store, places } = await aBackup(randomBytes(12_000))
  const target = Buffer.alloc(11_999, dirt)

  await assert.rejects(restoreChain(store, places, target), (error) => {
    return hasCode(error, 'VOLUME_TOO_SMALL') && /12000 bytes, .* only 11999/.test(error.message)
  })

  assert.ok(target.equals(Buffer.alloc(11_999, dirt)))
})

test('zeros of an incremental replace older data, on a new volume too', async () => {
  const chain = await aChain()
  await addBackup(chain, randomBytes(12_000))
  await addBackup(chain, Buffer.alloc(12_000))
  for (const volumeIsNew of [false, true]) {
    const target = Buffer.alloc(12_000)

    await restoreChain(chain.store, chain.places, target, { volumeIsNew })

    assert.ok(target.equals(Buffer.alloc(12_000)))
  }
})

test('each object is fetched once, and those that newer ones cover not at all', async () => {
  const chain = await aChain()
  const before = randomBytes(16_384)
  const after = Buffer.from(before)
  after.set(randomBytes(4096), 4096) // The second window as a whole.
  after.set(randomBytes(512), 0)
  await addBackup(chain, before)
  await addBackup(chain, after)
  const fetched: string[] = []
  const store = wrapStore(chain.store, ({ method, name }, run) => {
    if (method === 'getUndigested' && /-\d+$/.test(name ?? '')) fetched.push(name ?? '')
    return run()
  })
  const target = Buffer.alloc(16_384, dirt)

  await restoreChain(store, chain.places, target)

  assert.ok(target.equals(after))
  const [full, incremental] = chain.places.map(({ prefix }) => prefix)
  const names = [`${full}-00001`, `${full}-00003`, `${full}-00004`]
  assert.deepEqual(
    fetched.sort(),
    [...names, `${incremental}-00001`, `${incremental}-00002`].sort(),
  )
})

/** A volume that counts what is done to it. */
async function aTarget(bytes: Buffer) {
  const volumes = memoryVolumes(new Map([['41514981-daa2-4f6e-9fca-6d3e3256440e', bytes]]))
  const volume = await volumes.openTarget('41514981-daa2-4f6e-9fca-6d3e3256440e', never)
  const counts = { writtenBytes: 0, syncs: 0 }
  const counting: VolumeWriter = {
    ...volume,
    async write(offsetBytes, data) {
      counts.writtenBytes += data.byteLength
      await volume.write(offsetBytes, data)
    },
    async sync() {
      counts.syncs += 1
      await volume.sync()
    },
  }
  return { counting, counts }
}

test('zeros are written only where the volume has something else, and all is synced', async () => {
  for (const compression of ['none', 'zlib', 'zstd'] as const) {
    for (const volumeIsNew of [true, false]) {
      const bytes = Buffer.alloc(40 * 65_536)
      bytes.set(randomBytes(65_536), 3 * 65_536)
      const chain = await aChain()
      await addBackup(chain, bytes, { compression, chunkSizeBytes: 2 * 65_536 })
      const dirty = Buffer.alloc(bytes.byteLength)
      dirty[20 * 65_536 + 5] = 1
      const { counting, counts } = await aTarget(dirty)

      await restoreOnto(chain.store, chain.places, counting, { volumeIsNew })

      assert.ok(dirty.equals(bytes))
      assert.equal(counts.writtenBytes, 65_536 + 2 * 65_536)
      assert.equal(counts.syncs, 1)
    }
  }
})

test('a body that is almost that of a known all-zero chunk is still looked at', async () => {
  const { store, places, second } = await aBackup(Buffer.alloc(100 * 4096), 'zlib')
  const body = await bytesOf(store, second)
  const changed = Buffer.from(body)
  changed.writeUInt8(changed.readUInt8(body.byteLength - 1) ^ 1, body.byteLength - 1)
  const last = `${places[0]?.prefix}-00100`

  for (const wrong of [changed, body.subarray(0, -1), Buffer.concat([body, Buffer.alloc(1)])]) {
    await store.putObject({ container, name: last }, wrong, never)
    await assert.rejects(
      restoreChain(store, places, Buffer.alloc(100 * 4096)),
      (error) => hasCode(error, 'CHUNK_CORRUPT') && error.message.includes(last),
    )
  }
})

test('a restore that is told to stop ends with the reason, and nothing of it runs on', async () => {
  const chain = await aChain()
  await addBackup(chain, randomBytes(100_000), { compression: 'none' })
  const stop = new AbortController()
  let calls = 0
  let running = 0
  const store = wrapStore(chain.store, async ({ method }, run) => {
    calls += method === 'getUndigested' ? 1 : 0
    if (calls === 5) stop.abort(new AgentError('OPERATION_CANCELLED', 'stopped'))
    running += 1
    try {
      return await run()
    } finally {
      running -= 1
    }
  })
  const { counting } = await aTarget(Buffer.alloc(100_000))

  const work = restoreOnto(store, chain.places, counting, {}, stop.signal)

  await assert.rejects(work, (error) => hasCode(error, 'OPERATION_CANCELLED'))
  assert.equal(running, 0)
  assert.equal(calls, 5)
})

test('a parent without a sha256file is refused with the advice to take a full backup', async () => {
  const { store, places } = await aBackup(randomBytes(5000))
  const place = places[0] as BackupPlace
  await store.deleteObject({ container, name: sha256fileName(place.prefix) }, never)
  const file = await memorySpool().open()

  await assert.rejects(readParentDigests(store, place, 512, file, never), (error) => {
    return hasCode(error, 'PARENT_MISMATCH') && /take a full backup/.test(error.message)
  })
})

test('a parent with another block size is refused with the advice to take a full backup', async () => {
  const { store, places } = await aBackup(randomBytes(5000))
  const file = await memorySpool().open()

  const reading = readParentDigests(store, places[0] as BackupPlace, 1024, file, never)

  await assert.rejects(reading, (error) => {
    return hasCode(error, 'PARENT_MISMATCH') && /blocks of 512 bytes.*1024/.test(error.message)
  })
})

test('a prefix that is not of this backup is refused before the store is asked', async () => {
  const store = memoryStore()
  const record = { id: 'b', volume_id: 'v' }
  const file = await memorySpool().open()

  const reading = readMetadata(store, { container, prefix: '', record }, file, never)

  await assert.rejects(reading, (error) => hasCode(error, 'RECORD_MISMATCH'))
})

test('a document whose transfer broke is right after the second try', async () => {
  const bytes = randomBytes(5000)
  const { store, places } = await aBackup(bytes)
  const file = await memorySpool().open()

  await readParentDigests(secondTry(store), places[0] as BackupPlace, 512, file, never)
  const target = Buffer.alloc(5000)
  await restoreChain(secondTry(store), places, target)

  assert.equal(file.sizeBytes, 10 * 32)
  assert.ok(target.equals(bytes))
})
