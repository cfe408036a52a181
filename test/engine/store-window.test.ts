import assert from 'node:assert/strict'
import { hash, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import zlib from 'node:zlib'
import { laneWork } from '#src/adapters/lanes/lane-work.ts'
import { storedBytesMax } from '#src/domain/stored-chunk.ts'
import { packerOf, unpack } from '#src/engine/block-codecs.ts'
import { digestBlocks, digestZeros, isZeros } from '#src/engine/block-digests.ts'
import { laneTools } from '#src/engine/lane-tools.ts'
import { packExtent } from '#src/engine/pack-extent.ts'
import { looksCompressible } from '#src/engine/probe.ts'
import { nativeAccelerator } from '../support/native-accelerator.ts'
import { pyDecompress } from '../support/python-codecs.ts'
import { diskBytes } from '../support/volume-data.ts'

const never = new AbortController().signal
const native = nativeAccelerator().accelerator
const ways = [
  ['in TypeScript', null],
  ['natively', native],
] as const

assert.ok(native !== null, 'the accelerator is built before tests run')
assert.equal(typeof laneWork, 'function')

for (const [how, accelerator] of ways) {
  for (const [codec, effort] of [
    ['zlib', 'compatible'],
    ['zlib', 'fast'],
    ['zstd', 'compatible'],
    ['bz2', 'compatible'],
  ] as const) {
    test(`${codec} ${effort} written ${how} is read back by Python, and by us both ways`, async () => {
      const plain = Buffer.from(diskBytes(`${codec} ${effort}`, 700_001))
      const into = Buffer.alloc(plain.byteLength - 1)

      const body = await packerOf(codec, effort, accelerator)(plain, into, never)

      assert.ok(body !== null && body.byteLength < plain.byteLength)
      assert.equal(await pyDecompress(codec, body), hash('sha256', plain))
      for (const [, reader] of ways) {
        const again = Buffer.alloc(plain.byteLength)
        await unpack(body, codec, again, reader, never)
        assert.ok(again.equals(plain))
      }
    })

    test(`${codec} ${effort} ${how} gives up where it makes nothing smaller`, async () => {
      const plain = randomBytes(100_000)
      const into = Buffer.alloc(plain.byteLength - 1)
      assert.equal(await packerOf(codec, effort, accelerator)(plain, into, never), null)
    })
  }

  test(`digests of blocks are those of SHA-256, zeros among them (${how})`, () => {
    for (const blockBytes of [64, 100, 512, 32_768]) {
      const data = Buffer.concat([randomBytes(70_000), Buffer.alloc(70_000), randomBytes(33)])
      const count = Math.ceil(data.byteLength / blockBytes)
      const found = Buffer.alloc(count * 32)

      const zeroCount = digestBlocks(data, blockBytes, found, accelerator)

      let wantedZeros = 0
      for (let block = 0; block < count; block += 1) {
        const one = data.subarray(block * blockBytes, (block + 1) * blockBytes)
        if (isZeros(one, accelerator)) wantedZeros += 1
        const digest = found.subarray(block * 32, block * 32 + 32)
        assert.ok(digest.equals(hash('sha256', one, 'buffer')), `${blockBytes}: ${block}`)
      }
      assert.equal(zeroCount, wantedZeros)
    }
    const [zeros, wanted] = [Buffer.alloc(3 * 32), Buffer.alloc(3 * 32)]
    digestZeros(2500, 1000, zeros)
    digestBlocks(Buffer.alloc(2500), 1000, wanted, accelerator)
    assert.ok(zeros.equals(wanted))
  })

  test(`random bytes are not compressed, those with anything else among them are (${how})`, () => {
    const random = randomBytes(8_388_608)
    assert.ok(!looksCompressible(random, accelerator))
    random.fill('text', 3_000_000, 4_200_000)
    assert.ok(looksCompressible(random, accelerator))
    assert.ok(looksCompressible(Buffer.alloc(4096, 'abc'), accelerator))
  })

  test(`a body is packed with both its digests, or left as it is (${how})`, async () => {
    const tools = laneTools(accelerator)
    const packing = { compression: 'gzip', effort: 'compatible', verifiesUpload: true } as const
    const text = Buffer.alloc(50_000, 'what compresses ')
    const room = Buffer.alloc(storedBytesMax(50_000))

    const packed = await packExtent(text, room, packing, tools, never)
    const left = await packExtent(randomBytes(50_000), room, packing, tools, never)

    assert.equal(packed.compression, 'gzip')
    assert.equal(packed.md5, hash('md5', text))
    assert.equal(packed.storedMd5, hash('md5', packed.body))
    assert.ok(zlib.inflateSync(packed.body).equals(text))
    assert.equal(left.compression, 'none')
    assert.equal(left.md5, left.storedMd5)
  })
}
