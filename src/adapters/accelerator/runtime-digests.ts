import { hash } from 'node:crypto'

import type { Accelerator } from '../../ports/accelerator.ts'

const digestBytes = 32

/**
 * Digests of blocks where the processor has no instructions that we know to use better than Node does.
 * Each thread has its own: it remembers the digest of a block of zeros.
 */
export function runtimeSha256Blocks(isZero: Accelerator['isZero']): Accelerator['sha256Blocks'] {
  let zeros: { readonly blockBytes: number; readonly digest: Uint8Array } | null = null

  const digestZeros = (block: Uint8Array): Uint8Array => {
    if (zeros?.blockBytes !== block.byteLength) {
      zeros = { blockBytes: block.byteLength, digest: hash('sha256', block, 'buffer') }
    }
    return zeros.digest
  }

  return (data, blockBytes, into) => {
    if (!(Number.isSafeInteger(blockBytes) && blockBytes > 0)) {
      throw new TypeError('blockBytes must be an integer above 0')
    }
    if (into.byteLength < Math.ceil(data.byteLength / blockBytes) * digestBytes) {
      throw new TypeError('into must be as long as 32 bytes for each block')
    }
    let zeroBlocks = 0
    for (let at = 0, digestAt = 0; at < data.byteLength; at += blockBytes) {
      const block = data.subarray(at, at + blockBytes)
      const isZeroBlock = isZero(block)
      if (isZeroBlock) zeroBlocks++
      into.set(isZeroBlock ? digestZeros(block) : hash('sha256', block, 'buffer'), digestAt)
      digestAt += digestBytes
    }
    return zeroBlocks
  }
}
