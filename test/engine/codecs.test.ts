import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import zlib from 'node:zlib'
import type { Compression } from '#src/domain/compression.ts'
import { hasCode } from '#src/domain/errors.ts'
import { bz2Decoder, findBz2Program } from '#src/engine/bz2-filter.ts'
import { compress as compressInPieces, openDecoder } from '#src/engine/codecs.ts'

const never = new AbortController().signal
const compressible = Buffer.alloc(300_000, 'a line of text, more or less\n')
const codecs = ['zlib', 'bz2', 'zstd'] as const

async function compress(plain: Uint8Array, wanted: Compression, signal: AbortSignal) {
  const { compression, pieces, sizeBytes } = await compressInPieces(plain, wanted, signal)
  const body = Buffer.concat(pieces)
  assert.equal(body.byteLength, sizeBytes)
  return { compression, body }
}

async function decode(
  compression: Compression,
  body: Uint8Array,
  lengthBytes: number,
  pieceBytes = 65_536,
): Promise<Buffer> {
  const pieces: Buffer[] = []
  const keep = (plain: Uint8Array) => void pieces.push(Buffer.from(plain))
  await using decoder = await openDecoder(compression, lengthBytes, keep, never)
  for (let at = 0; at < body.byteLength; at += pieceBytes) {
    await decoder.write(body.subarray(at, at + pieceBytes))
  }
  await decoder.end()
  return Buffer.concat(pieces)
}

const rejectsAsCorrupt = (decoding: Promise<unknown>, why: RegExp) =>
  assert.rejects(decoding, (error) => hasCode(error, 'CHUNK_CORRUPT') && why.test(error.message))

for (const codec of codecs) {
  test(`${codec} gives back what went in, however it is cut`, async () => {
    for (const plain of [compressible, Buffer.alloc(1_000_000), Buffer.alloc(5000, 'x')]) {
      const { compression, body } = await compress(plain, codec, never)

      assert.equal(compression, codec)
      assert.ok(body.byteLength < plain.byteLength)
      for (const pieceBytes of [11, 65_536]) {
        const back = await decode(codec, body, plain.byteLength, pieceBytes)
        assert.ok(back.equals(plain))
      }
    }
  })

  test(`${codec} is not used where it would not make a chunk smaller`, async () => {
    for (const plain of [randomBytes(100_000), Buffer.from('a')]) {
      const { compression, body } = await compress(plain, codec, never)
      assert.deepEqual({ compression, body }, { compression: 'none', body: plain })
    }
  })

  test(`${codec} that is truncated, changed or followed by more is corrupt`, async () => {
    const { body } = await compress(compressible, codec, never)
    const bytes = compressible.byteLength
    const changed = Buffer.from(body)
    changed.writeUInt8(changed.readUInt8(20) ^ 0x10, 20)

    await rejectsAsCorrupt(decode(codec, body.subarray(0, -1), bytes), /decompressed|instead of/)
    await rejectsAsCorrupt(decode(codec, body.subarray(0, 30), bytes), /decompressed/)
    await rejectsAsCorrupt(decode(codec, new Uint8Array(0), bytes), /decompressed|instead of/)
    // A zstd frame has no checksum: there the md5 of the chunk must tell.
    if (codec !== 'zstd') await rejectsAsCorrupt(decode(codec, changed, bytes), /decompressed/)
    const garbage = Buffer.concat([body, Buffer.from('garbage')])
    for (const pieceBytes of [body.byteLength, 1_000_000]) {
      await rejectsAsCorrupt(
        decode(codec, garbage, bytes, pieceBytes),
        /decompressed|after its end/,
      )
    }
  })

  test(`${codec} never gives out more than the chunk's length`, async () => {
    const { body } = await compress(Buffer.alloc(50_000_000), codec, never)
    let given = 0
    const count = (plain: Uint8Array) => {
      given += plain.byteLength
    }
    await using decoder = await openDecoder(codec, 300_000, count, never)

    const decoding = decoder.write(body).then(() => decoder.end())

    await rejectsAsCorrupt(decoding, /more than its 300000 bytes/)
    assert.ok(given <= 300_000)
  })

  test(`${codec} that holds too little is corrupt`, async () => {
    const { body } = await compress(compressible, codec, never)

    await rejectsAsCorrupt(decode(codec, body, 300_001), /300000 bytes instead of 300001/)
  })

  test(`${codec} stops when it is told to`, async () => {
    const stop = new AbortController()
    const work = compress(Buffer.alloc(100_000_000, 'abc'), codec, stop.signal)
    stop.abort(new Error('stopped'))

    await assert.rejects(work, /stopped/)
  })

  test(`what the receiver of ${codec} rejects with comes through`, async () => {
    const { body } = await compress(compressible, codec, never)
    const refuse = () => Promise.reject(new RangeError('full'))
    await using decoder = await openDecoder(codec, 300_000, refuse, never)

    const decoding = decoder.write(body).then(() => decoder.end())

    await assert.rejects(decoding, (error) => /full/.test(String(error)))
  })
}

test('zlib is one RFC 1950 stream, and a second one is corrupt', async () => {
  const { body } = await compress(compressible, 'gzip', never)

  assert.ok(zlib.inflateSync(body).equals(compressible))
  const two = Buffer.concat([body, body])
  await rejectsAsCorrupt(decode('gzip', two, 600_000), /after its end/)
})

test('zstd says the length of its content, and is read without it and in several frames', async () => {
  const { body } = await compress(compressible, 'zstd', never)
  const frameHeader = Buffer.from(body.subarray(0, 6))
  assert.equal(frameHeader.readUInt32LE(0), 0xfd2fb528)
  assert.ok(frameHeader.readUInt8(4) >> 6 !== 0 || (frameHeader.readUInt8(4) & 0x20) !== 0)

  const sizeless = await streamedZstd(compressible)
  for (const pieceBytes of [7, body.byteLength, 1_000_000]) {
    const back = await decode('zstd', Buffer.concat([body, sizeless, body]), 900_000, pieceBytes)
    assert.ok(back.equals(Buffer.concat([compressible, compressible, compressible])))
  }
})

/** A frame that does not say how long its content is. */
async function streamedZstd(plain: Uint8Array): Promise<Buffer> {
  const stream = zlib.createZstdCompress()
  stream.write(plain.subarray(0, 1000))
  stream.end(plain.subarray(1000))
  return Buffer.concat(await stream.toArray())
}

test('bz2 in several streams is read with a program and without one', async () => {
  const { body } = await compress(compressible, 'bz2', never)
  const several = Buffer.concat([body, body])

  for (const program of [await findBz2Program(), null]) {
    const pieces: Uint8Array[] = []
    await using filter = bz2Decoder(program)((bytes) => void pieces.push(Buffer.from(bytes)), never)
    for (let at = 0; at < several.byteLength; at += 50) {
      await filter.write(several.subarray(at, at + 50))
    }
    await filter.finish()
    assert.ok(Buffer.concat(pieces).equals(Buffer.concat([compressible, compressible])))
  }
})

test('without a program, broken bz2 and an abort end the thread that reads it', async () => {
  const { body } = await compress(compressible, 'bz2', never)
  const changed = Buffer.from(body)
  changed.writeUInt8(changed.readUInt8(20) ^ 0x10, 20)
  for (const broken of [body.subarray(0, -1), changed, Buffer.concat([body, Buffer.from('x')])]) {
    await using filter = bz2Decoder(null)(() => {}, never)
    const work = filter.write(broken).then(() => filter.finish())
    await assert.rejects(work)
  }

  const stop = new AbortController()
  await using filter = bz2Decoder(null)(() => {}, stop.signal)
  await filter.write(body.subarray(0, 10))
  const rest = filter.write(body.subarray(10, 20))
  stop.abort(new Error('stopped'))
  await assert.rejects(
    rest.then(() => filter.finish()),
    /stopped/,
  )
})

for (const codec of codecs) {
  test(`${codec} that is told to stop says so, and blames nobody`, async () => {
    const plain = Buffer.alloc(100_000, 'some text ')
    const { body } = await compress(plain, codec, never)
    const reason = new Error('told to stop')
    for (const isBefore of [true, false]) {
      const stop = new AbortController()
      await using decoder = await openDecoder(codec, 100_000, () => {}, stop.signal)

      if (isBefore) stop.abort(reason)
      const writing = decoder.write(body).then(() => decoder.end())
      stop.abort(reason)

      await assert.rejects(writing, reason)
    }
  })
}
