// What moved is noted at once: three quick kills in a row must not end a job that gets on.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { driverBench, windowBytes } from '../support/driver-bench.ts'
import { noise } from '../support/volume-data.ts'

test('each operation notes that it moved as soon as it does', async () => {
  const bench = driverBench()
  const bytes = noise('reached', 8 * windowBytes)

  const { record } = await bench.create(bytes)
  assert.equal(bench.reached.length, 1)
  assert.ok((bench.reached[0] ?? 0) >= windowBytes, 'a window')

  await bench.restore(record, Buffer.alloc(bytes.byteLength))
  assert.equal(bench.reached.length, 2)
  assert.ok((bench.reached[1] ?? 0) >= windowBytes, 'a step')

  await bench.remove(record)
  assert.deepEqual(bench.reached.slice(2), [1], 'one object, and the others within a second')
})
