// What the machine allows: see native/limits.c.

import { execFile } from 'node:child_process'
import path from 'node:path'
import { promisify } from 'node:util'

import type { Bench } from './bench.ts'
import { nativeTool, startSink } from './native-tools.ts'
import { volumeFile } from './volumes.ts'

const run = promisify(execFile)

export type CodecName = 'none' | 'zlib' | 'fastZlib' | 'zstd' | 'bz2'

type CodecLimit = { readonly pack: number; readonly unpack: number; readonly bytes: number }

/** CPU seconds of the best primitive of each kind, for a whole volume. */
type Limits = {
  readonly bytes: number
  readonly read: number
  readonly zeros: number
  readonly sha256: number
  readonly md5: number
  readonly put: number
  readonly get: number
  readonly write: number
} & { readonly [codec in Exclude<CodecName, 'none'>]: CodecLimit }

/** The jobs that primitives add up to. */
export type Floor =
  | { readonly job: 'full' | 'restore'; readonly codec: CodecName; readonly kind?: 'random' }
  /** `share`: of the blocks that changed. */
  | { readonly job: 'incremental'; readonly codec: CodecName; readonly share: number }

export type FloorOf = (floor: Floor) => number

/** Measures both kinds of data, each once. */
export async function measureLimits(bench: Bench): Promise<FloorOf> {
  await using stack = new AsyncDisposableStack()
  const sink = await startSink(stack)
  const scratch = path.join(bench.volumes, 'limits.scratch')
  const of = async (kind: 'mixed' | 'random') => {
    const args = [await volumeFile(kind), String(sink.port), scratch]
    const { stdout } = await run(nativeTool('limits'), args)
    return JSON.parse(stdout) as Limits
  }
  const [mixed, random] = [await of('mixed'), await of('random')]
  return (floor) => cpuSecondsOfJob(floor, 'kind' in floor ? random : mixed)
}

function cpuSecondsOfJob(floor: Floor, limits: Limits): number {
  const { bytes, read, zeros, sha256, md5, put, get, write } = limits
  const codec = floor.codec === 'none' ? null : limits[floor.codec]
  // What does not get smaller is stored as it is, and then it has one MD5; a probe finds out.
  const isPacked = codec !== null && codec.bytes < bytes
  const packed = isPacked ? codec.bytes / bytes : 1
  if (floor.job === 'restore') {
    return get * packed + (isPacked ? codec.unpack : 0) + md5 + write
  }
  const scan = read + zeros + sha256
  const send = md5 + put * packed + (isPacked ? codec.pack + md5 * packed : 0)
  return scan + send * ('share' in floor ? floor.share : 1)
}
