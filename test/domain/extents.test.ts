import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'

import { changedExtents, extentSet } from '#src/domain/extents.ts'

/** Digests that differ where the letters do. */
function digestsOf(letters: string): Uint8Array {
  return Buffer.concat(Array.from(letters, (letter) => Buffer.alloc(32, letter)))
}

function extents(current: string, parent: string, windowBytes: number): number[][] {
  return Array.from(
    changedExtents(digestsOf(current), digestsOf(parent), 10, windowBytes),
    ({ offsetBytes, lengthBytes }) => [offsetBytes, lengthBytes],
  )
}

test('runs of changed blocks are one extent each', () => {
  assert.deepEqual(extents('abcdef', 'abcdef', 60), [])
  assert.deepEqual(extents('abXXeX', 'abcdef', 60), [
    [20, 20],
    [50, 10],
  ])
  assert.deepEqual(extents('XXXXXX', 'abcdef', 60), [[0, 60]])
})

test('the last block may be short', () => {
  assert.deepEqual(extents('abX', 'abc', 23), [[20, 3]])
})

test('blocks that the parent lacks have changed, and what it has too many is ignored', () => {
  assert.deepEqual(extents('abcd', 'ab', 40), [[20, 20]])
  assert.deepEqual(extents('ab', 'abcd', 20), [])
  assert.deepEqual(extents('ab', '', 20), [[0, 20]])
})

test('digests that differ in one byte alone are different', () => {
  for (let at = 0; at < 32; at++) {
    const current = digestsOf('a')
    current[at] = 0

    assert.equal([...changedExtents(current, digestsOf('a'), 10, 10)].length, 1)
  }
})

test('a set of extents merges what adjoins, in whatever order it comes', () => {
  const order = fc.shuffledSubarray(Array.from({ length: 30 }, (_, index) => index))
  fc.assert(
    fc.property(order, (added) => {
      const set = extentSet()
      for (const index of added) set.add({ offsetBytes: index * 10, lengthBytes: 10 })

      const runs: [number, number][] = []
      for (const index of [...added].sort((a, b) => a - b)) {
        const last = runs.at(-1)
        if (last && last[0] + last[1] === index * 10) last[1] += 10
        else runs.push([index * 10, 10])
      }
      const listed = set.list(99).extents.map((one) => [one.offsetBytes, one.lengthBytes])
      assert.deepEqual(listed, runs)
    }),
  )
})

test('a list that is cut says how many bytes it leaves out', () => {
  const set = extentSet()
  for (const offsetBytes of [0, 20, 40]) set.add({ offsetBytes, lengthBytes: 10 })

  const extents = [{ offsetBytes: 0, lengthBytes: 10 }]
  assert.deepEqual(set.list(1), { extents, omittedBytes: 20 })
})
