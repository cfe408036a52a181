import type { Extent } from '../domain/extents.ts'
import type { VolumeWriter } from '../ports/volumes.ts'
import { isZeros, zeros } from './fingerprint.ts'

const stepBytes = 65_536
const zeroStepBytes = zeros.byteLength

/** Writes to one volume, leaving zeros alone where the volume has them already. */
export type SparseWriter = {
  /** Writes `data` at `offsetBytes`. */
  readonly write: (offsetBytes: number, data: Uint8Array, signal: AbortSignal) => Promise<void>
  readonly writeZeros: (extent: Extent, signal: AbortSignal) => Promise<void>
}

/**
 * A writer to `target`. Zeros are never taken for granted: they are left out only where the volume
 * was read and has them, so that no old bytes can stay. `volumeIsNew` says that it is worth looking
 * everywhere; else one look that finds old bytes is enough for a run of zeros.
 */
export function sparseWriter(target: VolumeWriter, volumeIsNew: boolean): SparseWriter {
  const spare: Buffer[] = []

  async function writeZeros({ offsetBytes, lengthBytes }: Extent, signal: AbortSignal) {
    const found = spare.pop() ?? Buffer.allocUnsafe(zeroStepBytes)
    const end = offsetBytes + lengthBytes
    let looks = true
    for (let at = offsetBytes; at < end; at += zeroStepBytes) {
      signal.throwIfAborted()
      const bytes = Math.min(zeroStepBytes, end - at)
      const isThere = looks && (await isZeroAt(target, at, found.subarray(0, bytes)))
      if (isThere) continue
      looks &&= volumeIsNew
      await target.write(at, zeros.subarray(0, bytes))
    }
    spare.push(found)
  }

  return {
    writeZeros,
    async write(offsetBytes, data, signal) {
      for (const run of runsOf(data)) {
        signal.throwIfAborted()
        const at = offsetBytes + run.offsetBytes
        if (run.isZero) {
          await writeZeros({ offsetBytes: at, lengthBytes: run.lengthBytes }, signal)
        } else {
          await target.write(at, data.subarray(run.offsetBytes, run.offsetBytes + run.lengthBytes))
        }
      }
    },
  }
}

async function isZeroAt(target: VolumeWriter, offsetBytes: number, into: Uint8Array) {
  try {
    await target.read(offsetBytes, into)
  } catch {
    return false // What cannot be read may still be written, and will say so if not.
  }
  return isZeros(into)
}

type Run = Extent & { readonly isZero: boolean }

/** Runs of steps that are all zero, and of others. */
function* runsOf(data: Uint8Array): Generator<Run, void, undefined> {
  let start = 0
  while (start < data.byteLength) {
    const isZero = isZeros(data.subarray(start, start + stepBytes))
    let end = Math.min(start + stepBytes, data.byteLength)
    while (end < data.byteLength && isZeros(data.subarray(end, end + stepBytes)) === isZero) {
      end = Math.min(end + stepBytes, data.byteLength)
    }
    yield { offsetBytes: start, lengthBytes: end - start, isZero }
    start = end
  }
}
