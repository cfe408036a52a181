import assert from 'node:assert/strict'
import { test } from 'node:test'

import { hasCode } from '#src/domain/errors.ts'
import type { Json } from '#src/domain/json.ts'
import { pythonIndented, pythonLine, pythonString } from '#src/domain/python-json.ts'

// What Python 3.11 printed for these values.

test('strings are escaped to printable ASCII', () => {
  assert.equal(
    pythonString('a"\\/\b\f\n\r\t\u0000\u001f\u007f\u00e9\u2028\ud83d\ude00\ud800 ~'),
    '"a\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\\u007f\\u00e9\\u2028\\ud83d\\ude00\\ud800 ~"',
  )
})

const value: Json = { b: [1, -2.5, true, null, [], {}], a: { '\ud83d\ude00': 1, '\uffff': 2 } }

test('one line has a space after commas and colons, and keeps the order of keys', () => {
  assert.equal(
    pythonLine(value),
    '{"b": [1, -2.5, true, null, [], {}], "a": {"\\ud83d\\ude00": 1, "\\uffff": 2}}',
  )
})

test('indented text has its keys sorted by code points', () => {
  assert.equal(
    pythonIndented(value),
    `{
  "a": {
    "\\uffff": 2,
    "\\ud83d\\ude00": 1
  },
  "b": [
    1,
    -2.5,
    true,
    null,
    [],
    {}
  ]
}`,
  )
})

test('keys of which one begins with the other are sorted, the shorter first', () => {
  assert.equal(pythonIndented({ ab: 1, a: 2, '': 3 }), '{\n  "": 3,\n  "a": 2,\n  "ab": 1\n}')
})

test('what is nested too deep is refused with ARGUMENT_INVALID', () => {
  let deep: Json = 1
  for (let level = 0; level < 100_000; level++) deep = [deep]

  for (const print of [pythonLine, pythonIndented]) {
    assert.throws(
      () => print(deep),
      (error) => hasCode(error, 'ARGUMENT_INVALID'),
    )
  }
})
