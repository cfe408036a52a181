import assert from 'node:assert/strict'
import { hash, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import type { Compression } from '#src/domain/compression.ts'
import { packerOf, unpack } from '#src/engine/block-codecs.ts'
import { openDecoder } from '#src/engine/codecs.ts'
import { laneTools } from '#src/engine/lane-tools.ts'
import { packExtent } from '#src/engine/pack-extent.ts'
import { never } from '../support/chains.ts'
import { someBytes } from '../support/lane-tasks.ts'
import { nativeAccelerator } from '../support/native-accelerator.ts'

const plain = someBytes(300_001)
const noise = new Uint8Array(randomBytes(200_000))

async function decoded(compression: Compression, body: Uint8Array, lengthBytes: number) {
  const pieces: Buffer[] = []
  const keep = (piece: Uint8Array) => void pieces.push(Buffer.from(piece))
  await using decoder = await openDecoder(compression, lengthBytes, keep, never)
  await decoder.write(body)
  await decoder.end()
  return new Uint8Array(Buffer.concat(pieces))
}

async function unpacked(
  stored: Uint8Array,
  compression: Compression,
  lengthBytes: number,
  accelerator = nativeAccelerator().accelerator,
) {
  const into = new Uint8Array(lengthBytes)
  await unpack(stored, compression, into, accelerator, never)
  return into
}

const codecs = [
  ['zlib', 'compatible'],
  ['zlib', 'fast'],
  ['zstd', 'compatible'],
  ['bz2', 'compatible'],
] as const

for (const accelerator of [null, nativeAccelerator().accelerator]) {
  const by = accelerator === null ? 'the runtime' : 'the accelerator'

  for (const [codec, effort] of codecs) {
    test(`by ${by}: what ${codec} (${effort}) makes is read by everyone`, async () => {
      const pack = packerOf(codec, effort, accelerator)
      const body = await pack(plain, new Uint8Array(plain.byteLength), never)

      assert.ok(body !== null && body.byteLength < plain.byteLength / 2)
      assert.deepEqual(await decoded(codec, body, plain.byteLength), plain)
      assert.deepEqual(await unpacked(body, codec, plain.byteLength, null), plain)
      assert.deepEqual(await unpacked(body, codec, plain.byteLength, accelerator), plain)
    })

    test(`by ${by}: what ${codec} (${effort}) cannot make smaller is not made`, async () => {
      const pack = packerOf(codec, effort, accelerator)

      assert.equal(await pack(noise, new Uint8Array(noise.byteLength - 1), never), null)
      assert.equal(await pack(plain, new Uint8Array(500), never), null)
    })
  }

  for (const codec of ['zlib', 'zstd', 'bz2'] as const) {
    test(`by ${by}: ${codec} of another length, or damaged, is corrupt`, async () => {
      const pack = packerOf(codec, 'compatible', accelerator)
      const body = await pack(plain, new Uint8Array(plain.byteLength), never)
      assert.ok(body !== null)
      const bad = [
        [body.subarray(0, body.byteLength - 1), plain.byteLength],
        [body, plain.byteLength - 1],
        [body, plain.byteLength + 1],
        [Buffer.concat([body, Buffer.from('and more')]), plain.byteLength],
        [new Uint8Array(0), plain.byteLength],
        [noise, plain.byteLength],
      ] as const

      for (const [stored, length] of bad) {
        const unpacking = unpacked(stored, codec, length, accelerator)
        await assert.rejects(unpacking, { code: 'CHUNK_CORRUPT' })
      }
    })
  }

  test(`by ${by}: an extent comes with both of its digests, in the compression that it has`, async () => {
    const tools = laneTools(accelerator)
    const packing = { compression: 'gzip', effort: 'compatible', verifiesUpload: true } as const
    const into = new Uint8Array(plain.byteLength)

    const packed = await packExtent(plain, into, packing, tools, never)
    assert.equal(packed.compression, 'gzip')
    assert.deepEqual(await unpacked(packed.body, 'gzip', plain.byteLength), plain)
    assert.deepEqual([packed.md5, packed.storedMd5], [hash('md5', plain), hash('md5', packed.body)])
    const asItIs = await packExtent(noise, into, packing, tools, never)
    assert.deepEqual(asItIs, {
      ...{ compression: 'none', body: noise },
      ...{ md5: hash('md5', noise), storedMd5: hash('md5', noise) },
    })
  })
}

test('what is stored as it is must have its length', async () => {
  assert.deepEqual(await unpacked(plain, 'none', plain.byteLength), plain)
  await assert.rejects(unpacked(plain, 'off', plain.byteLength - 1), { code: 'CHUNK_CORRUPT' })
  await assert.rejects(unpacked(plain, 'no', plain.byteLength + 1), { code: 'CHUNK_CORRUPT' })
})

test('what cannot be read again as it was is not sent', async () => {
  const accelerator = {
    ...{ isZero: () => false, giveBack() {} },
    zlib: {
      compress: (_: Uint8Array, into: Uint8Array) => into.fill(1, 0, 10) && 10,
      decompress: (_: Uint8Array, into: Uint8Array) => into.byteLength,
    },
  }
  const tools = laneTools(
    accelerator as unknown as ReturnType<typeof nativeAccelerator>['accelerator'],
  )
  const packing = { compression: 'zlib', effort: 'compatible', verifiesUpload: true } as const
  const into = new Uint8Array(plain.byteLength)

  await assert.rejects(packExtent(plain, into, packing, tools, never), {
    code: 'CHUNK_CORRUPT',
    message: 'what zlib made cannot be read again as it was',
  })
})
