// Stored documents and chunks of every kind that whoever can write to the store may think of: what is
// restored from them is right, or it is refused with a code and a reason.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { deflateSync, zstdCompressSync } from 'node:zlib'
import fc from 'fast-check'

import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { memoryStore } from '#src/adapters/object-store/memory-store.ts'
import { memorySpool } from '#src/adapters/spool/memory-spool.ts'
import { memoryVolumes } from '#src/adapters/volumes/memory-volumes.ts'
import type { BackupWithParents } from '#src/domain/backup-record.ts'
import { AgentError } from '#src/domain/errors.ts'
import type { Json } from '#src/domain/json.ts'
import { chunkName, metadataName, sha256fileName } from '#src/domain/object-names.ts'
import { swiftLayout } from '#src/domain/store-layout.ts'
import { localLanes } from '#src/engine/local-lanes.ts'
import { pathJobVolumes } from '#src/operations/job-volumes.ts'
import type { Run } from '#src/operations/operation.ts'
import { restoreBackup } from '#src/operations/restore-backup.ts'
import { requestedVolumeMetadata } from '#src/operations/volume-metadata.ts'
import type { Volumes } from '#src/ports/volumes.ts'
import { aContext, aRequest } from '../support/builders.ts'
import { never } from '../support/chains.ts'
import {
  type GoldenChain,
  goldenBytes,
  goldenChain,
  goldenCodecs,
  storeGolden,
} from '../support/golden.ts'
import {
  byteChange,
  changed,
  changedBytes,
  changeOf,
  isPolluted,
  textOf,
} from '../support/hostile-json.ts'
import { ownTime } from '../support/own-time.ts'
import { times } from '../support/soak.ts'
import { sha256 } from '../support/volume-data.ts'
import { testSeed } from '../support/volume-files.ts'

const patienceMs = 1000
const mebibyte = 2 ** 20

const chains = new Map(goldenCodecs.map((codec) => [codec, goldenChain(codec)]))
const store = memoryStore()
for (const chain of chains.values()) await storeGolden(chain, store, never)

const roomBytesMax = 65_536
const whole = Buffer.alloc(goldenChain('none').volume_bytes + roomBytesMax)
const untouched = Buffer.alloc(roomBytesMax, 0xee)

const spool = memorySpool()
const lanes = localLanes()

/** Volumes that complain of a write beyond what they hold, or of one that makes no sense. */
function strictVolumes(volumes: Volumes, faults: string[]): Volumes {
  return {
    ...volumes,
    async openTarget(id, signal) {
      const target = await volumes.openTarget(id, signal)
      const check = (offset: number, length: number) => {
        const isInside = offset >= 0 && length >= 0 && offset + length <= target.sizeBytes
        if (!Number.isSafeInteger(offset) || !isInside) faults.push(`${length} at ${offset}`)
      }
      return {
        ...target,
        [Symbol.asyncDispose]: () => target[Symbol.asyncDispose](),
        write(offset, data) {
          check(offset, data.byteLength)
          return target.write(offset, data)
        },
        punch(extent) {
          check(extent.offsetBytes, extent.lengthBytes)
          return target.punch(extent)
        },
      }
    },
  }
}

/** Restores the link of a chain; resolves to `right`, or to the code that it was refused with. */
async function restored(chain: GoldenChain, link: number, roomBytes: number): Promise<string> {
  const nest = (index: number): BackupWithParents => {
    const { row } = chain.backups[index] ?? chain.backups[0]
    return { record: row, parent: index === 0 ? null : nest(index - 1) }
  }
  const backup = nest(link)
  const targetVolumeId = randomUUID()
  const target = whole.fill(0xee).subarray(0, chain.volume_bytes + roomBytes)
  const faults: string[] = []
  const restore = restoreBackup({
    journal: { record: () => null },
    stores: {
      layout: swiftLayout(chain.container, 'nova'),
      storeFor: () => store,
      accessFor: () => null,
    },
    volumes: pathJobVolumes(
      strictVolumes(memoryVolumes(new Map([[targetVolumeId, target]])), faults),
    ),
    metadata: requestedVolumeMetadata,
    ...{ spool, lanes, uploadsMax: 4 },
    sizes: { objectSizeBytes: 0, blockSizeBytes: 0, memoryMax: 16 * mebibyte, workers: 2 },
  })
  const request = aRequest('restore', backup.record, { backup, targetVolumeId })
  const run: Run = {
    job: {
      ...{ id: randomUUID(), request, context: aContext(), record: backup.record, run: '' },
      ...{ starts: 1, highWaterBytes: 0, started: true, device: null, ending: null },
    },
    isFirst: true,
    log: recordingLog(),
    record: () => backup.record,
    change: async () => undefined,
    reached: () => undefined,
    progress: () => undefined,
    device: async () => null,
    keepDevice: async (found) => found,
  }
  try {
    const { extra } = await restore(run, never)
    JSON.stringify(extra) // As the event will be.
  } catch (error) {
    if (!(error instanceof AgentError)) throw error
    assert.notEqual(error.kind, 'defect', error.message)
    assert.ok(error.message.length > 10)
    return error.code
  } finally {
    await spool.forget(run.job.id)
    assert.deepEqual(faults, [])
  }
  const is = sha256(target.subarray(0, chain.volume_bytes))
  assert.equal(is, chain.backups[link]?.restored_sha256, 'it ended well, and is wrong')
  assert.ok(target.subarray(chain.volume_bytes).equals(untouched.subarray(0, roomBytes)))
  return 'right'
}

type Place = { readonly chain: GoldenChain; readonly link: number; readonly name: string }

const where = fc.record({
  codec: fc.oneof(
    { weight: 99, arbitrary: fc.constantFrom('none', 'zlib', 'zstd') },
    { weight: 1, arbitrary: fc.constant('bz2') },
  ),
  link: fc.integer({ min: 0, max: 2 }),
  /** Of the backup itself, or of one that it builds on. */
  below: fc.integer({ min: 0, max: 2 }),
  roomBytes: fc.constantFrom(0, roomBytesMax),
})

/** Replaces an object for as long as the restore of a backup on top of it runs. */
async function tamperedWith(
  { chain, link, name }: Place,
  roomBytes: number,
  change: (before: Buffer) => Uint8Array,
): Promise<string> {
  const object = chain.backups.flatMap(({ objects }) => objects).find((one) => one.name === name)
  assert.ok(object !== undefined, name)
  const before = Buffer.from(goldenBytes(chain, object))
  const id = { container: chain.container, name }
  await store.putObject(id, change(before), never)
  try {
    const tookMs = ownTime()
    const outcome = await restored(chain, link, roomBytes)
    assert.ok(tookMs() < patienceMs, `${Math.round(tookMs())} ms`)
    assert.ok(!isPolluted(), 'no object of the process got a property')
    return outcome
  } finally {
    await store.putObject(id, before, never)
  }
}

function chainOf(codec: (typeof goldenCodecs)[number]): GoldenChain {
  return chains.get(codec) ?? goldenChain(codec)
}

async function fuzz<T>(
  t: TestContext,
  numRuns: number,
  arbitrary: fc.Arbitrary<T>,
  outcomeOf: (value: T) => Promise<string>,
): Promise<void> {
  const tally: Record<string, number> = {}
  const seed = Number(testSeed(t))
  await fc.assert(
    fc.asyncProperty(arbitrary, async (value) => {
      const outcome = await outcomeOf(value)
      tally[outcome] = (tally[outcome] ?? 0) + 1
    }),
    { seed, numRuns, endOnFailure: true },
  )
  t.diagnostic(`${numRuns}: ${JSON.stringify(tally)}`)
  const count = tally['right'] ?? 0
  assert.ok(count > 0 && count < numRuns, 'some make no difference, and some are refused')
}

/** What documents are made of, in places where it does not belong. */
const documentValue: fc.Arbitrary<Json> = fc.constantFrom<Json>(
  ...[...chains.values()].flatMap(({ backups, volume_id }) => [
    volume_id,
    ...backups.flatMap(({ id, prefix }) => [id, prefix, `${prefix}-00001`, `${prefix}_metadata`]),
  ]),
  ...[
    '1.0.0',
    '2.0.0',
    'none',
    'off',
    'zlib',
    'bz2',
    'zstd',
    'lzma',
    'd41d8cd98f00b204e9800998ecf8427e',
  ],
  ...[0, 1, -1, 512, 32_768, 65_536, 1_048_576, 1_575_424, 2 ** 53, 2 ** 40, 1.5],
  { version: 2, 'volume-base-metadata': {} },
  { cinder_backup_agent: { zero_chunks: 'sparse', volume_bytes: 2 ** 45 } },
)

const documentChanges = fc.record({
  where,
  kind: fc.constantFrom('metadata', 'metadata', 'metadata', 'sha256file'),
  changes: fc.oneof(
    { weight: 4, arbitrary: fc.array(changeOf(documentValue), { minLength: 1, maxLength: 3 }) },
    { weight: 1, arbitrary: fc.array(changeOf(documentValue), { minLength: 4, maxLength: 12 }) },
    { weight: 1, arbitrary: fc.constant([]) },
  ),
  bytes: fc.oneof(
    { weight: 2, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: fc.array(byteChange, { minLength: 1, maxLength: 4 }) },
  ),
})

test('whatever is changed in a metadata object or a sha256file, what is restored is right, or refused', async (t) => {
  await fuzz(t, times(1000, 100_000), documentChanges, async ({ where, kind, changes, bytes }) => {
    const { codec, link, below, roomBytes } = where
    const chain = chainOf(codec)
    // Of the sha256files only that of the backup itself is read.
    const { prefix } = chain.backups[kind === 'metadata' ? Math.min(link, below) : link] ?? {
      prefix: '',
    }
    const name = kind === 'metadata' ? metadataName(prefix) : sha256fileName(prefix)
    return tamperedWith({ chain, link, name }, roomBytes, (before) => {
      const text =
        changes.length === 0 ? before : textOf(changed(JSON.parse(String(before)), changes))
      return changedBytes(Buffer.from(text), bytes)
    })
  })
})

const zeros = Buffer.alloc(64 * mebibyte)
const bombs = [deflateSync(zeros), zstdCompressSync(zeros), zeros.subarray(0, 8 * mebibyte)]

const chunkChanges = fc.record({
  where,
  number: fc.nat(),
  how: fc.oneof(
    { weight: 8, arbitrary: fc.array(byteChange, { minLength: 1, maxLength: 4 }) },
    { weight: 1, arbitrary: fc.constantFrom(...bombs.keys()) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 64 }) },
  ),
})

test('whatever is changed in a chunk, what is restored is right, or refused', async (t) => {
  await fuzz(t, times(200, 20_000), chunkChanges, async ({ where, number, how }) => {
    const { codec, link, below, roomBytes } = where
    const chain = chainOf(codec)
    const { prefix, object_count: count } = chain.backups[Math.min(link, below)] ?? chain.backups[0]
    const name = chunkName(prefix, 1 + (number % count))
    return tamperedWith({ chain, link, name }, roomBytes, (before) => {
      if (typeof how === 'number') return bombs[how] ?? before
      // Bytes alone stand behind the end of what is whole.
      return how instanceof Uint8Array ? Buffer.concat([before, how]) : changedBytes(before, how)
    })
  })
})
