import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { test } from 'node:test'

import { memoryStore } from '#src/adapters/object-store/memory-store.ts'
import { retryingStore } from '#src/adapters/object-store/retrying-store.ts'
import { wrapStore } from '#src/adapters/object-store/wrap-store.ts'
import { AgentError } from '#src/domain/errors.ts'
import { breathe } from '#src/lib/event-loop.ts'
import type { ObjectStore } from '#src/ports/object-store.ts'
import { driverBench, type Ended } from '../support/driver-bench.ts'
import { changedBytes, diskBytes } from '../support/volume-data.ts'

const mib = 1_048_576

/** Numbers from 0 to 1 that are the same for a seed. */
function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

/** A store that answers out of order, and now and then only to the second try. */
function unevenStore(random: () => number): ObjectStore {
  const uneven = wrapStore(memoryStore(), async (call, run) => {
    for (let turns = Math.floor(random() * 4); turns > 0; turns -= 1) await breathe()
    if (random() < 0.05) throw new AgentError('STORE_UNAVAILABLE', `${call.method} failed`)
    return run()
  })
  const policy = { attemptsMin: 30, backoffMs: 1, budgetMs: 60_000 }
  return retryingStore(uneven, { ...policy, onRetry: () => undefined })
}

const seed = Number(process.env['CBA_SEED'] ?? randomInt(2 ** 31))
const rooms = [
  { memoryMax: 16 * mib, workers: 1, compression: 'zlib' },
  { memoryMax: 32 * mib, workers: 1, compression: 'zlib' },
  { memoryMax: 32 * mib, workers: 2, compression: 'none' },
] as const

for (const { memoryMax, workers, compression } of rooms) {
  const room = `${memoryMax / mib} MiB, ${workers} workers and ${compression}`
  test(`15 jobs at once end in ${room}, with every byte right (seed ${seed})`, async () => {
    const random = randomNumbers(seed)
    const store = unevenStore(random)
    const sizes = { objectSizeBytes: 50 * mib, blockSizeBytes: 32_768, memoryMax, workers }
    const bench = driverBench({ store, sizes, compression, verifyUpload: 'off' })
    const sizeBytes = () => 1 + Math.floor((0.2 + random()) * 20 * mib)

    const volumes = Array.from({ length: 5 }, (_, index) =>
      diskBytes(`${seed} ${index}`, sizeBytes()),
    )
    const fulls = await Promise.all(volumes.map((bytes) => bench.create(bytes)))
    const doomed = await bench.create(diskBytes(`${seed} doomed`, sizeBytes()))
    const days = volumes.map((bytes, index) =>
      index === 0 ? bytes : changedBytes(bytes, `${seed} ${index}`),
    )

    const restored: { wanted: Buffer; found: Buffer }[] = []
    const restore = async ({ record }: Ended, wanted: Buffer) => {
      const found = Buffer.alloc(wanted.byteLength, 0xdb)
      await bench.restore(record, found, random() < 0.5)
      restored.push({ wanted, found })
    }
    const onTop = async (full: Ended, bytes: Buffer) => {
      const { volume_id, id: parent_id } = full.record
      return { made: await bench.create(bytes, { volume_id, parent_id }), bytes }
    }
    const anew = async (_full: Ended, index: number) => {
      const bytes = diskBytes(`${seed} anew ${index}`, sizeBytes())
      return { made: await bench.create(bytes), bytes }
    }
    const pairs = fulls.map((full, index) => ({
      full,
      before: volumes[index] ?? Buffer.alloc(0),
      after: days[index] ?? Buffer.alloc(0),
    }))
    const [made] = await Promise.all([
      Promise.all([...pairs.map(({ full, after }) => onTop(full, after)), ...fulls.map(anew)]),
      ...pairs.slice(1).map(({ full, before }) => restore(full, before)),
      bench.remove(doomed.record),
    ])
    await Promise.all(made.map((one) => restore(one.made, one.bytes)))

    assert.equal(restored.length, 14)
    for (const { wanted, found } of restored) assert.ok(found.equals(wanted), 'other bytes')
    assert.deepEqual(await bench.names('volumebackups', doomed.record.service_metadata ?? ''), [])
  })
}
