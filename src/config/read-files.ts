import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'

import { type IniFile, parseIni } from './oslo-ini.ts'

const defaultFiles = ['/etc/cinder/cinder.conf', '/etc/cinder-backup-agent/agent.conf']

/** Where settings come from; files before folders, later ones win, the environment above all. */
export type Sources = {
  readonly files: readonly string[]
  /** Folders whose `*.conf` are read in the order of their names. */
  readonly dirs: readonly string[]
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

function readFolder(folder: string): readonly IniFile[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith('.conf') && !name.startsWith('.'))
      .toSorted()
      .map((name) => readIni(path.join(folder, name)))
  } catch (error) {
    return [unreadable(folder, error)]
  }
}

/**
 * Every file, read. Without any, the usual two where they exist; what cannot be read is among its
 * problems.
 */
export function readIniFiles({ files, dirs }: Sources): readonly IniFile[] {
  if (files.length > 0 || dirs.length > 0) {
    return [...files.map(readIni), ...dirs.flatMap(readFolder)]
  }
  return defaultFiles.map(readIni).filter(({ problems }) => !problems.some(isMissing))
}

function isMissing({ what }: { readonly what: string }): boolean {
  return what.endsWith(reasons['ENOENT'] ?? '')
}
