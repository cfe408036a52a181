import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'

import { memoryStore } from '#src/adapters/object-store/memory-store.ts'
import { type StoreCall, wrapStore } from '#src/adapters/object-store/wrap-store.ts'
import { memorySpool } from '#src/adapters/spool/memory-spool.ts'
import { AgentError } from '#src/domain/errors.ts'
import type { JobRequest } from '#src/domain/job.ts'
import { breathe } from '#src/lib/event-loop.ts'
import type { ObjectStore } from '#src/ports/object-store.ts'
import { aRecord, aRequest } from '../support/builders.ts'
import { driverBench, type Ended, entriesOf } from '../support/driver-bench.ts'
import { times } from '../support/soak.ts'
import { blockSizes, volumeHistory } from '../support/volume-history.ts'

// Jobs whose agent is stopped at any call to the store, and that go on from what was kept.

const isChunk = ({ name }: StoreCall) => /-\d{5}$/.test(name ?? '')

/** A store that stops the agent at the call that it is told, before it is done or after. */
function stoppingStore(): {
  readonly store: ObjectStore
  /** The calls that were done and are about chunks. */
  readonly chunks: { readonly method: StoreCall['method']; readonly name: string | null }[]
  stopAt(call: number, isDoneBefore: boolean): AbortSignal
} {
  let stop = new AbortController()
  let left = Number.POSITIVE_INFINITY
  let isDoneBefore = false
  const chunks: StoreCall[] = []
  const store = wrapStore(memoryStore(), async (call, run, signal) => {
    left -= 1
    const isLast = left === 0
    await breathe()
    if (isLast && !isDoneBefore) stop.abort(new AgentError('AGENT_STOPPING', 'the agent stops'))
    signal.throwIfAborted()
    const result = await run()
    if (isChunk(call)) chunks.push(call)
    if (isLast) stop.abort(new AgentError('AGENT_STOPPING', 'the agent stops'))
    return result
  })
  return {
    store,
    chunks,
    stopAt(call, isDone) {
      stop = new AbortController()
      left = call
      isDoneBefore = isDone
      return stop.signal
    },
  }
}

type Stop = { readonly call: number; readonly isDoneBefore: boolean }

const stops = fc.array(
  fc.record({ call: fc.integer({ min: 1, max: 40 }), isDoneBefore: fc.boolean() }),
  { minLength: 1, maxLength: 3 },
)

type Case = typeof cases extends fc.Arbitrary<infer T> ? T : never

const cases = fc.record({
  days: volumeHistory(40_000, 3),
  block: blockSizes,
  compression: fc.constantFrom('none' as const, 'zlib' as const, 'zstd' as const),
  zeroChunks: fc.constantFrom('compat' as const, 'sparse' as const),
  stopsOfBackup: stops,
  stopsOfRestore: stops,
  dirt: fc.constantFrom(0, 0xee),
  volumeIsNew: fc.boolean(),
  losesPower: fc.boolean(),
})

function aBench({ block, compression, zeroChunks }: Case) {
  const stopping = stoppingStore()
  const { blockSizeBytes, blocksPerChunk } = block
  const objectSizeBytes = blockSizeBytes * blocksPerChunk
  const sizes = { objectSizeBytes, blockSizeBytes, memoryMax: 4 * 1_048_576, workers: 2 }
  const spool = memorySpool()
  const bench = driverBench({ store: stopping.store, spool, sizes, compression, zeroChunks })

  /** Runs a job, cut short at each of `stops`, to its end. Resolves to how often it was. */
  async function run(request: JobRequest, stops: readonly Stop[], onStop: () => void = () => {}) {
    const jobId = randomUUID()
    let count = 0
    for (const { call, isDoneBefore } of stops) {
      const stop = stopping.stopAt(call, isDoneBefore)
      try {
        const ended = await bench.run(request, { jobId, stop })
        if (!stop.aborted) return { ended, count }
      } catch (error) {
        assert.equal((error as AgentError).code, 'AGENT_STOPPING', String(error))
      }
      count += 1
      onStop()
    }
    stopping.stopAt(Number.POSITIVE_INFINITY, false)
    return { ended: await bench.run(request, { jobId }), count }
  }
  /** So many chunks has a window at most. */
  return { bench, stopping, run, chunksOfWindow: blocksPerChunk }
}

test('a backup and a restore that are cut short anywhere end as if they had not been', async () => {
  await fc.assert(
    fc.asyncProperty(cases, async (one) => {
      const { bench, stopping, run, chunksOfWindow } = aBench(one)
      const volume_id = randomUUID()
      let last: Ended | null = null
      for (const bytes of one.days) {
        const record = aRecord({ volume_id, parent_id: last?.record.id ?? null })
        bench.contents.set(volume_id, bytes)
        stopping.chunks.length = 0
        const { ended, count } = await run(aRequest('create', record), one.stopsOfBackup)
        last = ended

        const { container, service_metadata: prefix } = ended.record
        const named = entriesOf(await bench.metadata(ended.record)).map(({ name }) => name)
        const documents = [`${prefix}_metadata`, `${prefix}_sha256file`]
        const there = await bench.names(container ?? '', prefix ?? '')
        assert.deepEqual(there.toSorted(), [...named, ...documents].toSorted())
        const puts = stopping.chunks.filter(({ method }) => method === 'putObject').length
        const again = puts - named.length
        assert.ok(again <= count * chunksOfWindow, `${again} puts more than ${named.length}`)
      }
      if (last === null) return

      const wanted = one.days.at(-1) ?? Buffer.alloc(0)
      const targetVolumeId = randomUUID()
      let found = Buffer.alloc(wanted.byteLength, one.dirt)
      bench.contents.set(targetVolumeId, found)
      stopping.chunks.length = 0
      const { volumeIsNew } = one
      const request = aRequest('restore', last.record, { targetVolumeId, volumeIsNew })
      const { count } = await run(request, one.stopsOfRestore, () => {
        if (!one.losesPower) return
        found = Buffer.alloc(wanted.byteLength, 0xdd) // Nothing was synced.
        bench.contents.set(targetVolumeId, found)
      })

      assert.ok(found.equals(wanted), 'other bytes than backed up')
      const fetched = stopping.chunks.map(({ name }) => name)
      const again = fetched.length - new Set(fetched).size
      if (!one.losesPower) assert.ok(again <= count, `${again} fetched again of ${fetched.length}`)
    }),
    { numRuns: times(50, 800) },
  )
})
