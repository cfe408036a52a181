import assert from 'node:assert/strict'
import { test } from 'node:test'

import { depthOf, stringEnd } from '#src/domain/json-text.ts'

const depths: readonly (readonly [string, number])[] = [
  ['7', 0],
  ['[]', 1],
  ['{"a": [1, {"b": 2}], "c": {}}', 3],
  ['"[[["', 0],
  ['["\\"[[", []]', 2],
  ['[[[', 3],
  [']]]', 0],
  ['"[', 0],
  ['['.repeat(200_000), 200_000],
]

for (const [text, depth] of depths) {
  test(`${text.slice(0, 30)} is ${depth} levels deep`, () => {
    assert.equal(depthOf(text), depth)
  })
}

test('a string ends at its closing quote, or with the text', () => {
  assert.equal(stringEnd('"ab" ', 0), 3)
  assert.equal(stringEnd('"a\\"b"', 0), 5)
  assert.equal(stringEnd('"a\\', 0), 3)
})
