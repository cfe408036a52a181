import { execFile } from 'node:child_process'
import { copyFile, mkdir, open, rename, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'

import { dataFolder, mebibyte, mebibytes } from './settings.ts'

const run = promisify(execFile)
const script = path.join(import.meta.dirname, 'make_data.py')

type Kind = 'mixed' | 'mixed5' | 'random' | 'zero'

/** The file of a volume of this kind, made where the cache lacks it, and in the page cache. */
export async function volumeFile(kind: Kind, mib = mebibytes): Promise<string> {
  const file = await keptFile(kind, mib)
  await run('dd', [`if=${file}`, 'of=/dev/null', 'bs=1M'])
  return file
}

async function keptFile(kind: Kind, mib: number): Promise<string> {
  if (kind !== 'mixed5') return cached(`${kind}-${mib}`, [kind], ['--mib', String(mib)])
  return cached(`mixed5-${mib}`, ['mutate'], ['--base', await keptFile('mixed', mib)])
}

/** A volume of so many GiB with `dataMib` of data in it, and holes around. */
export function sparseFile(gib: number, dataMib: number): Promise<string> {
  const size = ['--mib', String(gib * 1024), '--data-mib', String(dataMib)]
  return cached(`sparse-${gib}g-${dataMib}`, ['sparse'], size)
}

async function cached(name: string, kind: string[], options: string[]): Promise<string> {
  await mkdir(dataFolder, { recursive: true })
  const file = path.join(dataFolder, `${name}.img`)
  const isThere = await stat(file).catch(() => null)
  if (isThere !== null) return file
  await run('/usr/bin/python3', [script, ...kind, `${file}.new`, ...options])
  await rename(`${file}.new`, file)
  return file
}

/** Changes 5 % of a file's blocks, others for each seed. */
export async function mutate(file: string, seed: number): Promise<void> {
  await run('/usr/bin/python3', [script, 'mutate', file, '--base', file, '--seed', String(seed)])
}

/** Keeps holes. */
export async function copyVolume(from: string, to: string): Promise<void> {
  await rm(to, { force: true })
  await run('cp', ['--sparse=always', from, to]).catch(() => copyFile(from, to))
}

/** A new volume that nothing was ever written to. */
export async function emptyVolume(file: string, bytes = mebibytes * mebibyte): Promise<void> {
  await rm(file, { force: true })
  const handle = await open(file, 'wx')
  await handle.truncate(bytes)
  await handle.close()
}

/** Throws where two volumes differ. */
export async function assertSame(one: string, other: string): Promise<void> {
  await run('cmp', [one, other])
}

/** What was written before is on the disk: nobody's measurement pays for it. */
export async function settleDisks(): Promise<void> {
  await run('sync')
}
