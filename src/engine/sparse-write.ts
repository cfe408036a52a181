import type { Extent } from '../domain/extents.ts'
import type { Accelerator } from '../ports/accelerator.ts'
import type { VolumeWriter } from '../ports/volumes.ts'
import { isZeros, zeros } from './block-digests.ts'

const stepBytes = 65_536
const zeroStepBytes = zeros.byteLength
/** Shorter runs cost more as holes than as zeros. */
const punchedBytesMin = 1_048_576

/** Writes to one volume, leaving zeros alone where the volume has them already. */
export type SparseWriter = {
  /** Writes `data` at `offsetBytes`. */
  readonly write: (offsetBytes: number, data: Uint8Array, signal: AbortSignal) => Promise<void>
  readonly writeZeros: (extent: Extent, signal: AbortSignal) => Promise<void>
}

/**
 * A writer to `target`. Zeros are never taken for granted: long runs are made holes where the device
 * can; else they are left out only where the volume was read and has them, so that no old bytes can
 * stay. `volumeIsNew` says that it is worth looking everywhere; else one look that finds old bytes is
 * enough for a run of zeros.
 */
export function sparseWriter(
  target: VolumeWriter,
  volumeIsNew: boolean,
  accelerator: Accelerator | null,
): SparseWriter {
  const spare: Buffer[] = []

  async function writeZeros(extent: Extent, signal: AbortSignal) {
    if (extent.lengthBytes >= punchedBytesMin && (await target.punch(extent))) return
    const { offsetBytes, lengthBytes } = extent
    const found = spare.pop() ?? Buffer.allocUnsafe(zeroStepBytes)
    const end = offsetBytes + lengthBytes
    let looks = true
    for (let at = offsetBytes; at < end; at += zeroStepBytes) {
      signal.throwIfAborted()
      const bytes = Math.min(zeroStepBytes, end - at)
      const isThere = looks && (await isZeroAt(target, at, found.subarray(0, bytes), accelerator))
      if (isThere) continue
      looks &&= volumeIsNew
      await target.write(at, zeros.subarray(0, bytes))
    }
    spare.push(found)
  }

  return {
    writeZeros,
    async write(offsetBytes, data, signal) {
      for (const run of runsOf(data, accelerator)) {
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

async function isZeroAt(
  target: VolumeWriter,
  offsetBytes: number,
  into: Uint8Array,
  accelerator: Accelerator | null,
) {
  try {
    await target.read(offsetBytes, into)
  } catch {
    return false // What cannot be read may still be written, and will say so if not.
  }
  return isZeros(into, accelerator)
}

type Run = Extent & { readonly isZero: boolean }

/** Runs of steps that are all zero, and of others. */
function* runsOf(
  data: Uint8Array,
  accelerator: Accelerator | null,
): Generator<Run, void, undefined> {
  let start = 0
  while (start < data.byteLength) {
    const isZeroAtStep = (at: number) => isZeros(data.subarray(at, at + stepBytes), accelerator)
    const isZero = isZeroAtStep(start)
    let end = Math.min(start + stepBytes, data.byteLength)
    while (end < data.byteLength && isZeroAtStep(end) === isZero) {
      end = Math.min(end + stepBytes, data.byteLength)
    }
    yield { offsetBytes: start, lengthBytes: end - start, isZero }
    start = end
  }
}
