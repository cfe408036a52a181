import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { looksCompressible } from '#src/engine/probe.ts'
import { nativeAccelerator } from '../support/native-accelerator.ts'

const mebibyte = 1_048_576
const noise = randomBytes(4 * mebibyte)

for (const accelerator of [null, nativeAccelerator().accelerator]) {
  const by = accelerator === null ? 'the runtime' : 'the accelerator'

  test(`by ${by}: what is little is worth trying, but for a byte`, () => {
    assert.equal(looksCompressible(new Uint8Array(0), accelerator), false)
    assert.equal(looksCompressible(new Uint8Array(1), accelerator), false)
    assert.equal(looksCompressible(noise.subarray(0, 2), accelerator), true)
    assert.equal(looksCompressible(noise.subarray(0, 2 * mebibyte - 1), accelerator), true)
  })

  test(`by ${by}: noise is not worth trying`, () => {
    assert.equal(looksCompressible(noise.subarray(0, 2 * mebibyte), accelerator), false)
    assert.equal(looksCompressible(noise, accelerator), false)
  })

  test(`by ${by}: text and zeros are`, () => {
    const text = Buffer.alloc(4 * mebibyte, 'a line of text, more or less\n')

    assert.equal(looksCompressible(text, accelerator), true)
    assert.equal(looksCompressible(new Uint8Array(4 * mebibyte), accelerator), true)
  })

  test(`by ${by}: an eighth that gets smaller is found wherever it lies`, () => {
    for (let at = 0; at <= 3.5 * mebibyte; at += mebibyte / 4) {
      const bytes = Buffer.from(noise).fill('some text\n', at, at + mebibyte / 2)

      assert.equal(looksCompressible(bytes, accelerator), true, `at ${at}`)
    }
  })
}
