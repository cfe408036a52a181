import assert from 'node:assert/strict'
import { test } from 'node:test'

import { deviceNumber } from '#src/adapters/volumes/device-path.ts'

for (const [rdev, expected] of [
  [0x700n, '7:0'],
  [0x1_03_00n, '259:0'],
  [0x10_08_10n, '8:272'],
  [0x10000ffffffffn, '69631:1048575'],
] as const) {
  test(`device number 0x${rdev.toString(16)} is ${expected}`, () => {
    assert.equal(deviceNumber(rdev), expected)
  })
}
