import assert from 'node:assert/strict'
import { createHash, hash } from 'node:crypto'
import { test } from 'node:test'

import fc from 'fast-check'
import { pageBuffer } from '#src/lib/page-buffer.ts'
import type { Accelerator, Compress, Decompress } from '#src/ports/accelerator.ts'
import { diskBytes, noise } from '../support/volume-data.ts'

/** A codec to prove: how to get it, and somebody else's way to read and write its format. */
export type CodecUnderTest = {
  readonly name: string
  readonly compress: Compress
  readonly decompress: Decompress | null
  readonly levelMax: number
  /** Whether several streams, one after the other, are one content. */
  readonly joins: boolean
  /** Whether the format has a checksum of the content. */
  readonly checks: boolean
  readonly peer: {
    read(stored: Uint8Array): Uint8Array
    write(plain: Uint8Array): Uint8Array
  }
}

/** Sizes around those that MD5 and SHA-256 work in, and others. */
const sizes = fc.oneof(
  fc.constantFrom(0, 1, 55, 56, 63, 64, 65, 119, 120, 127, 128, 129),
  fc.nat(70_000),
)
const contents = {
  noise,
  disk: (seed: string, size: number) => diskBytes(seed, size + 100_000).subarray(0, size),
  text: (seed: string, size: number) => Buffer.alloc(size, `a line of ${seed}\n`),
  zeros: (_: string, size: number) => Buffer.alloc(size),
}
const kinds = fc.constantFrom(...(Object.keys(contents) as (keyof typeof contents)[]))

/** Bytes of all kinds, at odd places of memory too. */
const anyBytes = fc
  .tuple(kinds, fc.nat(1000), sizes, fc.nat(64))
  .map(([kind, seed, size, offset]) => unaligned(contents[kind](String(seed), size), offset))

function unaligned(bytes: Uint8Array, offset: number): Buffer {
  const memory = Buffer.alloc(bytes.byteLength + offset + 1, 1)
  memory.set(bytes, offset)
  return memory.subarray(offset, offset + bytes.byteLength)
}

const guardBytes = 64
const guard = 0xa5

/** Room for a result, after which nothing around it may have changed. */
function guarded(length: number) {
  const memory = Buffer.alloc(length + 2 * guardBytes, guard)
  return {
    room: memory.subarray(guardBytes, guardBytes + length),
    assertIntact() {
      const around = [memory.subarray(0, guardBytes), memory.subarray(guardBytes + length)]
      assert.ok(
        Buffer.concat(around).every((byte) => byte === guard),
        'wrote beyond its room',
      )
    },
  }
}

function compressed({ compress }: CodecUnderTest, plain: Uint8Array, level: number): Buffer {
  const { room, assertIntact } = guarded(2 * plain.byteLength + 1024)
  const length = compress(plain, room, level)
  assertIntact()
  assert.ok(length > 0)
  return room.subarray(0, length)
}

function decompressed(decompress: Decompress, stored: Uint8Array, size: number): Buffer | null {
  const { room, assertIntact } = guarded(size)
  const length = decompress(stored, room)
  assertIntact()
  assert.ok(length >= -1 && length <= size)
  return length < 0 ? null : room.subarray(0, length)
}

const property = (runs: number, arbitrary: fc.Arbitrary<Buffer>, holds: (it: Buffer) => void) =>
  fc.assert(fc.property(arbitrary, holds), { numRuns: runs })

/** What every codec must do. */
export function testNativeCodec(adapter: string, codec: CodecUnderTest): void {
  const { name, compress, decompress, levelMax, peer } = codec
  const sample = diskBytes('sample', 250_000)

  test(`${adapter}: ${name} writes what its peer reads`, () => {
    property(60, anyBytes, (plain) => {
      assert.ok(plain.equals(peer.read(compressed(codec, plain, 1))))
    })
  })

  for (const level of Array.from({ length: levelMax }, (_, index) => index + 1)) {
    test(`${adapter}: ${name} has level ${level}`, () => {
      assert.ok(sample.equals(peer.read(compressed(codec, sample, level))))
    })
  }

  test(`${adapter}: ${name} fits its room or says 0, however little there is to spare`, () => {
    fc.assert(
      fc.property(anyBytes, fc.integer({ min: -9, max: 9 }), (plain, spare) => {
        const needed = compressed(codec, plain, 1).byteLength
        const { room, assertIntact } = guarded(Math.max(0, needed + spare))
        const length = compress(plain, room, 1)
        assertIntact()
        if (length > 0) assert.ok(plain.equals(peer.read(room.subarray(0, length))))
      }),
      { numRuns: 40 },
    )
  })

  test(`${adapter}: ${name} says 0 where the room does not suffice`, () => {
    const stored = compressed(codec, sample, 1)
    for (const missing of [1, 2, 7, 8, 9, 1000, stored.byteLength]) {
      const { room, assertIntact } = guarded(stored.byteLength - missing)
      assert.equal(compress(sample, room, 1), 0)
      assertIntact()
    }
  })

  test(`${adapter}: ${name} refuses levels that it has not, and what is no Uint8Array`, () => {
    const room = Buffer.alloc(1000)
    for (const level of [0, levelMax + 1, 1.5, Number.NaN, -1, 2 ** 40]) {
      assert.throws(() => compress(room, Buffer.alloc(2000), level), TypeError)
    }
    const others = [new Uint16Array(8), new DataView(new ArrayBuffer(8)), [], 'text', null]
    for (const other of others as unknown[] as Uint8Array[]) {
      assert.throws(() => compress(other, room, 1), TypeError)
      assert.throws(() => compress(room, other, 1), TypeError)
      if (decompress !== null) assert.throws(() => decompress(other, room), TypeError)
      if (decompress !== null) assert.throws(() => decompress(room, other), TypeError)
    }
  })

  if (decompress !== null) testDecompress(adapter, codec, decompress)
}

function testDecompress(adapter: string, codec: CodecUnderTest, decompress: Decompress): void {
  const { name, joins, checks, peer } = codec
  const sample = diskBytes('sample', 150_000)

  test(`${adapter}: ${name} reads what its peer writes`, () => {
    property(40, anyBytes, (plain) => {
      const stored = peer.write(plain)
      assert.ok(decompressed(decompress, stored, plain.byteLength)?.equals(plain))
      assert.ok(decompressed(decompress, stored, plain.byteLength + 9)?.equals(plain))
    })
  })

  test(`${adapter}: ${name} says -1 where the room does not suffice`, () => {
    const stored = peer.write(sample)
    for (const missing of [1, 2, 100, sample.byteLength - 1, sample.byteLength]) {
      assert.equal(decompressed(decompress, stored, sample.byteLength - missing), null)
    }
  })

  test(`${adapter}: ${name} refuses a stream that is cut off, wherever`, () => {
    const stored = Buffer.from(peer.write(sample))
    const cuts = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 14, 20, 1000, stored.byteLength >> 1]
    for (const length of [...cuts, ...cuts.map((cut) => stored.byteLength - 1 - cut)]) {
      const cut = unaligned(stored.subarray(0, length), 0)
      assert.equal(decompressed(decompress, cut, sample.byteLength), null, `${length}`)
    }
  })

  test(`${adapter}: ${name} refuses bytes behind its end`, () => {
    const stored = peer.write(sample)
    for (const rest of [Buffer.of(0), Buffer.from('BZ'), Buffer.alloc(100, 7)]) {
      const longer = Buffer.concat([stored, rest])
      assert.equal(decompressed(decompress, longer, sample.byteLength + 1000), null)
    }
  })

  test(`${adapter}: ${name} ${joins ? 'joins' : 'refuses'} several streams`, () => {
    const parts = [sample.subarray(0, 1000), Buffer.alloc(0), sample.subarray(1000)]
    const stored = Buffer.concat(parts.map((part) => peer.write(part)))

    const plain = decompressed(decompress, stored, sample.byteLength)

    if (joins) assert.ok(plain?.equals(sample))
    else assert.equal(plain, null)
  })

  test(`${adapter}: ${name} stays within its room whatever it is given`, () => {
    const stored = Buffer.from(peer.write(sample))
    const place = fc.nat(8 * stored.byteLength - 1)
    const flips = fc.array(place, { minLength: 1, maxLength: 3 })
    fc.assert(
      fc.property(flips, (bits) => {
        const damaged = Buffer.from(stored)
        for (const bit of new Set(bits)) {
          const at = bit >> 3
          damaged.writeUInt8(damaged.readUInt8(at) ^ (1 << (bit & 7)), at)
        }
        const plain = decompressed(decompress, damaged, sample.byteLength)
        if (checks) assert.ok(plain === null || plain.equals(sample))
      }),
      { numRuns: 150 },
    )
    property(100, fc.uint8Array({ maxLength: 300 }).map(Buffer.from), (bytes) => {
      decompressed(decompress, bytes, 1000)
    })
  })
}

/** What every Accelerator must do beside its codecs, which have a contract of their own. */
export function testDigests(
  adapter: string,
  {
    sha256Blocks,
    isZero,
    md5Pair,
    giveBack,
  }: Pick<Accelerator, 'sha256Blocks' | 'isZero' | 'md5Pair' | 'giveBack'>,
): void {
  test(`${adapter}: each block has its SHA-256, and those of zeros are counted`, () => {
    const blocks = fc.oneof(
      fc.constantFrom(1, 63, 64, 65, 4096, 32_768),
      fc.integer({ min: 1, max: 9000 }),
    )
    fc.assert(
      fc.property(anyBytes, blocks, fc.nat(63), (bytes, wanted, offset) => {
        const blockBytes = Math.max(wanted, Math.ceil(bytes.byteLength / 500))
        const count = Math.ceil(bytes.byteLength / blockBytes)
        const { room, assertIntact } = guarded(count * 32 + offset)
        const digests = room.subarray(0, count * 32)
        let zeroBlocks = 0
        const expected = Array.from({ length: count }, (_, index) => {
          const block = bytes.subarray(index * blockBytes, (index + 1) * blockBytes)
          if (block.every((byte) => byte === 0)) zeroBlocks += 1
          return createHash('sha256').update(block).digest()
        })

        assert.equal(sha256Blocks(bytes, blockBytes, digests), zeroBlocks)

        assertIntact()
        assert.ok(digests.equals(Buffer.concat(expected)))
      }),
      { numRuns: 200 },
    )
  })

  test(`${adapter}: blocks of zeros of another size have another digest`, () => {
    const zeros = new Uint8Array(4096)
    const digest = new Uint8Array(32)
    for (const blockBytes of [4096, 512, 64, 4096]) {
      sha256Blocks(zeros.subarray(0, blockBytes), blockBytes, digest)
      assert.deepEqual(Buffer.from(digest), hash('sha256', zeros.subarray(0, blockBytes), 'buffer'))
    }
  })

  test(`${adapter}: digests want their room, and blocks that are some bytes long`, () => {
    const data = new Uint8Array(100)
    assert.throws(() => sha256Blocks(data, 50, new Uint8Array(63)), TypeError)
    for (const blockBytes of [0, -1, 0.5, Number.NaN]) {
      assert.throws(() => sha256Blocks(data, blockBytes, new Uint8Array(6400)), TypeError)
    }
  })

  test(`${adapter}: zeros are told from anything else, wherever it stands`, () => {
    fc.assert(
      fc.property(sizes, fc.nat(64), fc.nat(), fc.integer({ min: 1, max: 255 }), (...drawn) => {
        const [size, offset, place, byte] = drawn
        const bytes = unaligned(Buffer.alloc(size), offset)
        assert.equal(isZero(bytes), true)
        if (size === 0) return
        bytes[place % size] = byte
        assert.equal(isZero(bytes), false)
      }),
      { numRuns: 300 },
    )
  })

  test(`${adapter}: what is given back reads as zeros, and its neighbours stay as they were`, () => {
    const memory = pageBuffer(65_536)
    fc.assert(
      fc.property(fc.nat(65_536), fc.nat(65_536), (one, other) => {
        const [start, end] = [Math.min(one, other), Math.max(one, other)]
        memory.fill(7)
        giveBack(memory.subarray(start, end))
        const expected = Buffer.alloc(65_536, 7).fill(0, start, end)
        assert.ok(memory.equals(expected), `from ${start} to ${end}`)
      }),
      { numRuns: 300 },
    )
  })

  test(`${adapter}: two MD5s at once are those of one after the other`, () => {
    fc.assert(
      fc.property(anyBytes, anyBytes, (one, other) => {
        assert.deepEqual(md5Pair(one, other), [hash('md5', one), hash('md5', other)])
      }),
      { numRuns: 200 },
    )
  })
}
