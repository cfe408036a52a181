import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { test } from 'node:test'
import zlib from 'node:zlib'
import type { ExpectedBlocks } from '#src/domain/lane-tasks.ts'
import { digestZeros, isZeros } from '#src/engine/block-digests.ts'
import { type FetchedChunk, mayBeZeros, verifyChunk } from '#src/engine/verify-chunk.ts'
import { digestsOf, someBytes } from '../support/lane-tasks.ts'
import { nativeAccelerator } from '../support/native-accelerator.ts'

const block = 512
const chunkAt = 8 * block
const plain = someBytes(8 * block)

/** Of a volume that is ten blocks longer than the chunk, digests from the chunk's first block on. */
function expectedOf(bytes: Uint8Array, fields: Partial<ExpectedBlocks> = {}): ExpectedBlocks {
  return {
    blockSizeBytes: block,
    firstBlock: chunkAt / block,
    digests: digestsOf(bytes, block),
    endBytes: chunkAt + bytes.byteLength + 10 * block,
    ...fields,
  }
}

function fetched(bytes: Uint8Array, fields: Partial<FetchedChunk> = {}): FetchedChunk {
  const place = { offsetBytes: chunkAt, lengthBytes: bytes.byteLength }
  return {
    chunk: { name: 'backup-00001', ...place, compression: 'none', md5: hash('md5', bytes) },
    pieces: [place],
    plain: bytes,
    stored: bytes,
    expected: expectedOf(bytes),
    ...fields,
  }
}

const withoutMd5 = { ...fetched(plain).chunk, md5: '00'.repeat(16) }
const damaged = plain.slice()
damaged[3 * block + 7] = 255

for (const accelerator of [null, nativeAccelerator().accelerator]) {
  const by = accelerator === null ? 'the runtime' : 'the accelerator'

  test(`by ${by}: bytes whose SHA-256 is right are right, whatever their md5`, () => {
    verifyChunk(fetched(plain), accelerator)
    verifyChunk(fetched(plain, { chunk: withoutMd5 }), accelerator)
  })

  test(`by ${by}: only the pieces that are wanted decide`, () => {
    const pieces = [
      { offsetBytes: chunkAt, lengthBytes: 3 * block },
      { offsetBytes: chunkAt + 4 * block, lengthBytes: 4 * block },
    ]
    const chunk = fetched(damaged, { expected: expectedOf(plain), chunk: withoutMd5, pieces })

    verifyChunk(chunk, accelerator)
  })

  test(`by ${by}: bytes that are neither what the md5 nor what the SHA-256 says are corrupt`, () => {
    const chunk = fetched(damaged, { expected: expectedOf(plain), chunk: fetched(plain).chunk })

    const message = `its md5 is ${hash('md5', damaged)}, and should be ${hash('md5', plain)}`
    assert.throws(() => verifyChunk(chunk, accelerator), { code: 'CHUNK_CORRUPT', message })
  })

  test(`by ${by}: documents that contradict each other are told from a bad chunk`, () => {
    const chunk = fetched(damaged, { expected: expectedOf(plain) })

    assert.throws(() => verifyChunk(chunk, accelerator), {
      code: 'CHUNK_CORRUPT',
      message: /the sha256file says otherwise of 512 bytes at offset 5632 of the volume/,
    })
  })

  test(`by ${by}: the last block of a volume may be short`, () => {
    const short = someBytes(3 * block + 100)
    const endBytes = chunkAt + short.byteLength
    const right = fetched(short, { expected: expectedOf(short, { endBytes }), chunk: withoutMd5 })
    verifyChunk(right, accelerator)

    const other = short.slice()
    other[3 * block + 99] = 255
    const wrong = fetched(other, { expected: expectedOf(short, { endBytes }) })
    const message = /says otherwise of 100 bytes at offset 5632 /
    assert.throws(() => verifyChunk(wrong, accelerator), { code: 'CHUNK_CORRUPT', message })
  })
}

const last = { offsetBytes: chunkAt + 7 * block, lengthBytes: block }
const uncovered: [string, Partial<FetchedChunk>][] = [
  ['without a sha256file', { expected: null }],
  ['in part before the digests', { expected: expectedOf(plain, { firstBlock: 9 }) }],
  ['in part behind them', { expected: expectedOf(plain.subarray(block)) }],
  ['at no block', { pieces: [last, { offsetBytes: chunkAt + 1, lengthBytes: block - 1 }] }],
  ['to no block', { pieces: [last, { offsetBytes: chunkAt, lengthBytes: block - 1 }] }],
]
for (const [what, fields] of uncovered) {
  test(`of pieces ${what} the md5 decides`, () => {
    verifyChunk(fetched(plain, fields), null)
    const wrong = { ...fetched(plain, fields), chunk: withoutMd5 }
    assert.throws(() => verifyChunk(wrong, null), { code: 'CHUNK_CORRUPT', message: /its md5 is/ })
  })
}

test('the md5 of the stored bytes, as before Liberty, will do where they are compressed', () => {
  const stored = zlib.deflateSync(plain)
  const chunk = { ...withoutMd5, md5: hash('md5', stored) }
  const compressed = { ...chunk, compression: 'zlib' } as const

  verifyChunk(fetched(plain, { expected: null, stored, chunk: compressed }), null)
  const bad = fetched(plain, { expected: null, stored, chunk })
  assert.throws(() => verifyChunk(bad, null), { code: 'CHUNK_CORRUPT' })
})

test('zeros are ruled out only by digests of something else', () => {
  const zeros = new Uint8Array(2 * block + 100)
  const endBytes = chunkAt + zeros.byteLength
  const pieces = [{ offsetBytes: chunkAt, lengthBytes: zeros.byteLength }]
  const something = zeros.slice()
  something[2 * block + 99] = 1

  assert.equal(mayBeZeros(pieces, null), true)
  assert.equal(mayBeZeros(pieces, expectedOf(zeros, { endBytes })), true)
  assert.equal(mayBeZeros(pieces, expectedOf(something, { endBytes })), false)
  assert.equal(mayBeZeros(pieces, expectedOf(something.subarray(block))), true)
})

test('digests of zeros are those of zeros', () => {
  const zeros = new Uint8Array(3 * block + 1)
  const digests = new Uint8Array(4 * 32)

  digestZeros(zeros.byteLength, block, digests)

  assert.deepEqual(digests, digestsOf(zeros, block))
  assert.equal(isZeros(zeros), true)
  for (const at of [0, block, 1_048_576, 1_048_577]) {
    const data = new Uint8Array(1_048_578)
    data[at] = 1
    assert.equal(isZeros(data), false)
  }
})
