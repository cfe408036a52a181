import { createCipheriv, createHash } from 'node:crypto'

// Content of volumes, the same at each run for a seed: what fails once can be looked at again.

const kibibyte = 1024

/** Bytes that no codec makes smaller. */
export function noise(seed: string, lengthBytes: number): Buffer {
  const key = createHash('sha256').update(seed).digest()
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(lengthBytes))
}

/** Noise, text and holes by turns, as a disk has them. */
export function diskBytes(seed: string, sizeBytes: number): Buffer {
  const bytes = noise(seed, sizeBytes)
  const pieceBytes = 96 * kibibyte
  for (let offset = 0, turn = 0; offset < sizeBytes; offset += pieceBytes, turn += 1) {
    const end = Math.min(offset + pieceBytes, sizeBytes)
    if (turn % 3 === 1) bytes.fill(`line ${offset} of ${seed}\n`, offset, end)
    if (turn % 3 === 2) bytes.fill(0, offset, end)
  }
  return bytes
}

/**
 * The disk after a day: some bytes of a block, a run of blocks in the middle, a block that became
 * zeros, and the last byte.
 */
export function changedBytes(before: Uint8Array, seed: string): Buffer {
  const after = Buffer.from(before)
  const third = Math.floor(after.length / 3)
  noise(`${seed} a`, 100).copy(after, third + 7)
  noise(`${seed} b`, 80 * kibibyte).copy(after, 2 * third)
  after.fill(0, 0, 32 * kibibyte)
  after.writeUInt8(after.readUInt8(after.length - 1) ^ 0xff, after.length - 1)
  return after
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
