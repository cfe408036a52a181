import assert from 'node:assert/strict'
import { test } from 'node:test'

import { checkSha256fileFits, chunkSizeFor, verifiesUpload } from '#src/domain/backup-plan.ts'
import { hasCode } from '#src/domain/errors.ts'

const mib = 1_048_576
const sizes = {
  objectSizeBytes: 50 * mib,
  blockSizeBytes: 32_768,
  memoryMax: 512 * mib,
  workers: 2,
}

test('the chunk is the object size that is configured, where memory allows', () => {
  assert.equal(chunkSizeFor(sizes), 50 * mib)
})

test('the chunk is made smaller to fit memory, and stays a multiple of the block', () => {
  assert.equal(chunkSizeFor({ ...sizes, memoryMax: 100 * mib }), 25 * mib)
  assert.equal(chunkSizeFor({ ...sizes, memoryMax: 100 * mib, workers: 8 }), 6.25 * mib)
  assert.equal(chunkSizeFor({ ...sizes, memoryMax: 1_000_001, workers: 1 }), 15 * 32_768)
})

test("the posix driver's files of 2 GB become chunks of 50 MiB", () => {
  assert.equal(chunkSizeFor({ ...sizes, objectSizeBytes: 1_999_994_880 }), 50 * mib)
})

test('an object size that is no multiple of the block is refused with CONFIGURATION_INVALID', () => {
  for (const wrong of [
    { objectSizeBytes: 50_000 },
    { blockSizeBytes: 0 },
    { objectSizeBytes: 0 },
  ]) {
    assert.throws(
      () => chunkSizeFor({ ...sizes, ...wrong }),
      (error) => hasCode(error, 'CONFIGURATION_INVALID'),
    )
  }
})

test('a block that no chunk can hold is refused with CONFIGURATION_INVALID', () => {
  const blockSizeBytes = 50 * mib
  assert.throws(
    () => chunkSizeFor({ ...sizes, blockSizeBytes, memoryMax: 100 * mib }),
    (error) => hasCode(error, 'CONFIGURATION_INVALID') && /memory_max/.test(error.message),
  )
})

test('a sha256file beyond the limit of the store is refused with the block size that would fit', () => {
  const tib = 1024 ** 4
  const limit = { blockSizeBytes: 32_768, objectBytesMax: 5 * 1024 ** 3 }

  checkSha256fileFits({ ...limit, volumeBytes: 2 * tib })
  assert.throws(
    () => checkSha256fileFits({ ...limit, volumeBytes: 9 * tib }),
    (error) => hasCode(error, 'OBJECT_TOO_LARGE') && /block size of 262144/.test(error.message),
  )
})

test('what is compressed is verified where it is wanted, and by itself nowhere: it costs too much', () => {
  assert.deepEqual(
    [verifiesUpload('on'), verifiesUpload('auto'), verifiesUpload('off')],
    [true, false, false],
  )
})
