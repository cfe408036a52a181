import assert from 'node:assert/strict'
import { test } from 'node:test'

import { isCompatible } from '#src/domain/rpc-version.ts'

const cases: [string, string, boolean][] = [
  ['2.4', '2.0', true],
  ['2.4', '2.4', true],
  ['2.4', '2.3.9', true],
  ['2.4', '2.4.1', false],
  ['2.4', '2.5', false],
  ['2.4', '3.0', false],
  ['2.4', '1.9', false],
  ['2.4.2', '2.4.1', true],
  ['1.0', '1.0', true],
  ['1.0', '2.0', false],
  ['2.4', '2', false],
  ['2.4', '', false],
  ['2.4', '2.x', false],
  ['2.4', '2.4.0.1', false],
]

for (const [implemented, requested, expected] of cases) {
  test(`an endpoint of ${implemented} ${expected ? 'serves' : 'does not serve'} "${requested}"`, () => {
    assert.equal(isCompatible(implemented, requested), expected)
  })
}
