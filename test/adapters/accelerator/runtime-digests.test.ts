import { hash } from 'node:crypto'

import { runtimeSha256Blocks } from '#src/adapters/accelerator/runtime-digests.ts'
import { testDigests } from '../../contracts/accelerator.ts'

const isZero = (data: Uint8Array) => data.every((byte) => byte === 0)

testDigests('runtime-digests', {
  giveBack: (memory) => memory.fill(0),
  sha256Blocks: runtimeSha256Blocks(isZero),
  isZero,
  md5Pair: (one, other) => [hash('md5', one), hash('md5', other)],
})
