import assert from 'node:assert/strict'
import fs from 'node:fs'
import { test } from 'node:test'

import { pageBuffer, startsOnPage } from '#src/lib/page-buffer.ts'

import { loopDevice } from '../support/loop-device.ts'

test('a page buffer has the bytes that were asked for, all zeros', () => {
  for (const bytes of [1, 4096, 65_536, 1_000_000]) {
    const buffer = pageBuffer(bytes)
    assert.equal(buffer.byteLength, bytes)
    assert.ok(buffer.every((byte) => byte === 0))
    assert.ok(startsOnPage(buffer))
  }
})

test('parts of it start on a page where their offset does; other memory never does for certain', () => {
  const buffer = pageBuffer(20_000)

  assert.ok(startsOnPage(buffer.subarray(4096)))
  assert.ok(startsOnPage(new Uint8Array(buffer.buffer, 8192, 5)))
  assert.ok(!startsOnPage(buffer.subarray(512)))
  assert.ok(!startsOnPage(new Uint8Array(4096)))
  assert.ok(!startsOnPage(Buffer.allocUnsafeSlow(1_048_576)))
})

test('the kernel takes every page of it for O_DIRECT', async () => {
  await using device = await loopDevice(1_048_576)
  const fd = fs.openSync(device.path, fs.constants.O_RDONLY | fs.constants.O_DIRECT)
  try {
    for (let round = 0; round < 5; round++) {
      const buffer = pageBuffer(1_048_576).fill(1)
      const middle = buffer.subarray(4096, 12_288)
      assert.equal(fs.readSync(fd, middle, 0, 8192, 4096), 8192)
      assert.ok(middle.every((byte) => byte === 0))
    }
  } finally {
    fs.closeSync(fd)
  }
})
