import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { getSystemErrorMessage, getSystemErrorName } from 'node:util'

import type { Accelerator, Compress, Decompress } from '../../ports/accelerator.ts'
import type { DataRun } from '../../ports/volumes.ts'
import { runtimeSha256Blocks } from './runtime-digests.ts'
import { works, worksLikeZlib, worksLikeZstd } from './trial.ts'

// The accelerator of native/, where it was built for this host and its owner wants it.

/** What native/addon.c exports: what the host lacks is not there. */
type Addon = {
  readonly zlib?: AddonCodec
  readonly fastZlib?: Library & { readonly compress: Compress }
  readonly bz2?: AddonCodec
  readonly zstd?: AddonCodec
  readonly sha256Blocks?: Accelerator['sha256Blocks']
  readonly isZero: Accelerator['isZero']
  readonly md5Pair: Accelerator['md5Pair']
  readonly giveBack: Accelerator['giveBack']
  // These return the negative errno where the system refuses.
  seekData(fd: number, offset: number): number
  seekHole(fd: number, offset: number): number
  punchHole(fd: number, offset: number, length: number): number
  deviceSize(fd: number): number
}

type Library = { readonly library: string; readonly version: string }
type AddonCodec = Library & { readonly compress: Compress; readonly decompress: Decompress }

type Loaded = {
  readonly accelerator: Accelerator | null
  /** For the log: what there is, or why there is nothing. */
  readonly why: string
}

const root = path.join(import.meta.dirname, '../../..')

/** Finds and tries it. Never throws; each thread that wants it calls this. */
export function loadAccelerator(): Loaded {
  if (process.env['CBA_ACCELERATOR'] === 'off') return without('CBA_ACCELERATOR=off')
  const name = `accelerator-${process.platform}-${process.arch}.node`
  const file = path.join(root, 'native/build', name)
  try {
    const accelerator = acceleratorOf(createRequire(import.meta.url)(file) as Addon)
    return { accelerator, why: accelerator.features.join(', ') }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    return without(code === 'MODULE_NOT_FOUND' ? `no ${name} was built` : message)
  }
}

function without(why: string): Loaded {
  return { accelerator: null, why }
}

const needed = ['isZero', 'md5Pair', 'giveBack', 'seekData', 'seekHole', 'punchHole', 'deviceSize']

function acceleratorOf(addon: Addon): Accelerator {
  const missing = needed.find((name) => !(name in addon))
  if (missing !== undefined) throw new Error(`it has no ${missing}: build it anew with make native`)
  const zlib = tried(addon.zlib, worksLikeZlib)
  const fastZlib = tried(addon.fastZlib, worksLikeZlib)
  const bz2 = tried(addon.bz2, works)
  const zstd = tried(addon.zstd, worksLikeZstd)
  const libraries = [zlib, fastZlib, bz2, zstd].filter((codec) => codec !== null)
  return {
    features: [
      ...libraries.map(nameOf),
      addon.sha256Blocks === undefined ? 'sha256 of Node' : 'sha256 in two lanes',
      'md5 in two lanes',
    ],
    zlib,
    fastZlib,
    bz2,
    zstd,
    sha256Blocks: addon.sha256Blocks ?? runtimeSha256Blocks(addon.isZero),
    isZero: addon.isZero,
    md5Pair: addon.md5Pair,
    giveBack: addon.giveBack,
    dataRun: (fd, offset) => dataRun(addon, fd, offset),
    punchHole: (fd, offset, length) => punchHole(addon, fd, offset, length),
    deviceSize: (fd) => orThrow(addon.deviceSize(fd), 'ioctl'),
  }
}

/** libbz2 tells its version with the date: `1.0.8, 13-Jul-2019`. */
function nameOf({ library, version }: Library): string {
  return `${library} ${version.replace(/,.*/, '')}`.trimEnd()
}

/** A codec that the host has and that does what it should. */
function tried<Codec>(codec: Codec | undefined, does: (codec: Codec) => boolean): Codec | null {
  return codec !== undefined && does(codec) ? codec : null
}

const { EINVAL, ENODEV, ENOSYS, ENXIO, EOPNOTSUPP } = os.constants.errno

function dataRun(addon: Addon, fd: number, offset: number): DataRun | null | undefined {
  const start = addon.seekData(fd, offset)
  if (start === -ENXIO) return null
  if (start < 0) return undefined
  const end = addon.seekHole(fd, start)
  return end < 0 ? undefined : { start, end }
}

const cannotPunch = [EOPNOTSUPP, EINVAL, ENOSYS, ENODEV].map((errno) => -errno)

function punchHole(addon: Addon, fd: number, offset: number, length: number): boolean {
  const result = addon.punchHole(fd, offset, length)
  if (cannotPunch.includes(result)) return false
  orThrow(result, 'fallocate')
  return true
}

/** The result of a system call, or an error as those of node:fs. */
function orThrow(result: number, syscall: string): number {
  if (result >= 0) return result
  const code = getSystemErrorName(result)
  const message = `${code}: ${getSystemErrorMessage(result)}, ${syscall}`
  throw Object.assign(new Error(message), { errno: result, code, syscall })
}
