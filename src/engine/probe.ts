import zlib from 'node:zlib'

import type { Accelerator } from '../ports/accelerator.ts'

/** Below it the probe costs as much as what it spares. */
const probedBytesMin = 2_097_152
const samples = 16
const sampleBytes = 32_768

/** What saves less than this is not worth its name: 2 %. */
const savedMin = 0.02

const scratch = Buffer.allocUnsafe(sampleBytes)

/**
 * Whether any of a few samples, spread evenly, gets smaller. What is already compressed or encrypted
 * then costs no more than if it were to be stored as it is.
 */
export function looksCompressible(plain: Uint8Array, accelerator: Accelerator | null): boolean {
  if (plain.byteLength < probedBytesMin) return plain.byteLength > 1
  const step = Math.floor((plain.byteLength - sampleBytes) / (samples - 1))
  for (let sample = 0; sample < samples; sample += 1) {
    const start = sample * step
    if (getsSmaller(plain.subarray(start, start + sampleBytes), accelerator)) return true
  }
  return false
}

function getsSmaller(sample: Uint8Array, accelerator: Accelerator | null): boolean {
  const room = Math.floor(sample.byteLength * (1 - savedMin))
  const quick = accelerator?.zlib ?? null
  if (quick !== null) return quick.compress(sample, scratch.subarray(0, room), 1) > 0
  return zlib.deflateSync(sample, { level: 1 }).byteLength <= room
}
