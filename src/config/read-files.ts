import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'

import { type IniFile, parseIni } from './oslo-ini.ts'

const defaultFiles = ['/etc/cinder/cinder.conf', '/etc/cinder-backup-agent/agent.conf']

/** A file, or a folder whose `*.conf` are read in the order of their names. */
export type ConfigPath = { readonly kind: 'file' | 'folder'; readonly path: string }

/** Where settings come from; later paths win, the environment above all. */
export type Sources = {
  readonly paths: readonly ConfigPath[]
  readonly env: Readonly<Record<string, string | undefined>>
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'permission denied; let the user that runs the agent read it',
  EISDIR: 'it is a folder; use --config-dir for it',
  ENOTDIR: 'it is not a folder; use --config-file for it',
}

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  return reasons[code ?? ''] ?? message
}

function unreadable(file: string, error: unknown): IniFile {
  const what = `cannot be read: ${reasonOf(error)}`
  return { file, sections: new Map(), problems: [{ where: file, option: null, what }] }
}

function readIni(file: string): IniFile {
  try {
    const bytes = readFileSync(file)
    return parseIni(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes), file)
  } catch (error) {
    return unreadable(file, error)
  }
}

/** In the order of code points, as Python sorts; JavaScript's own order differs above U+FFFF. */
function byCodePoint(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}

function readFolder(folder: string): readonly IniFile[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith('.conf') && !name.startsWith('.'))
      .toSorted(byCodePoint)
      .map((name) => readIni(path.join(folder, name)))
  } catch (error) {
    return [unreadable(folder, error)]
  }
}

/**
 * Every file, read in the order of the paths. Where no file is named, the usual two come first, if
 * they exist, also in front of folders. What cannot be read is among its problems.
 */
export function readIniFiles({ paths }: Sources): readonly IniFile[] {
  const usual = paths.some(({ kind }) => kind === 'file') ? [] : defaultFiles
  return [
    ...usual.map(readIni).filter(({ problems }) => !problems.some(isMissing)),
    ...paths.flatMap((named) =>
      named.kind === 'file' ? [readIni(named.path)] : readFolder(named.path),
    ),
  ]
}

function isMissing({ what }: { readonly what: string }): boolean {
  return what.endsWith(reasons['ENOENT'] ?? '')
}
