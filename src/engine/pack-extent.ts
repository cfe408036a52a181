import { hash } from 'node:crypto'

import { type Compression, codecOf } from '../domain/compression.ts'
import { AgentError } from '../domain/errors.ts'
import type { Effort } from '../domain/lane-tasks.ts'
import { packerOf, unpack } from './block-codecs.ts'
import type { LaneTools } from './lane-tools.ts'
import { looksCompressible } from './probe.ts'
import type { PackedBody } from './zero-chunks.ts'

export type Packing = {
  readonly compression: Compression
  readonly effort: Effort
  readonly verifiesUpload: boolean
}

/**
 * Compresses `plain` into `into`, or leaves it as it is, as `none`, where that would not make it smaller
 * (as Cinder does since Liberty) or a probe says that it will not. Rejects with COMPRESSION_UNSUPPORTED,
 * with CHUNK_CORRUPT where it cannot be read again as it was, or with the signal's reason.
 */
export async function packExtent(
  plain: Uint8Array,
  into: Uint8Array,
  packing: Packing,
  tools: LaneTools,
  signal: AbortSignal,
): Promise<PackedBody> {
  const body = await compressed(plain, into, packing, tools, signal)
  if (body === null) {
    const md5 = hash('md5', plain)
    return { compression: 'none', body: plain, md5, storedMd5: md5 }
  }
  const { compression } = packing
  if (packing.verifiesUpload) await verify(compression, body, plain, tools, signal)
  const [md5, storedMd5] = digestBoth(plain, body, tools)
  return { compression, body, md5, storedMd5 }
}

async function compressed(
  plain: Uint8Array,
  into: Uint8Array,
  { compression, effort }: Packing,
  tools: LaneTools,
  signal: AbortSignal,
): Promise<Uint8Array | null> {
  const codec = codecOf(compression)
  if (codec === 'none' || !looksCompressible(plain, tools.accelerator)) return null
  const pack = packerOf(codec, effort, tools.accelerator)
  return pack(plain, into.subarray(0, plain.byteLength - 1), signal)
}

function digestBoth(plain: Uint8Array, body: Uint8Array, { accelerator }: LaneTools) {
  return accelerator?.md5Pair(plain, body) ?? ([hash('md5', plain), hash('md5', body)] as const)
}

async function verify(
  compression: Compression,
  body: Uint8Array,
  plain: Uint8Array,
  tools: LaneTools,
  signal: AbortSignal,
): Promise<void> {
  const again = tools.buffers.check(plain.byteLength)
  await unpack(body, compression, again, tools.accelerator, signal)
  if (Buffer.compare(again, plain) === 0) return
  throw new AgentError('CHUNK_CORRUPT', `what ${compression} made cannot be read again as it was`)
}
