import type { BackupRecord } from './backup-record.ts'
import type { Json } from './json.ts'
import { pythonIndented } from './python-json.ts'

/** The format's version, the same since 2013. Source: cinder/backup/chunkeddriver.py. */
export const formatVersion = '1.0.0'

/** What both documents of a backup say about it. */
export type DocumentHeader = {
  readonly backup_id: string
  readonly backup_name: string | null
  readonly backup_description: string | null
  /** As Python prints a time: `2026-11-22 23:51:59+00:00`. */
  readonly created_at: string
  readonly volume_id: string
}

export function documentHeader(record: BackupRecord): DocumentHeader {
  return {
    backup_id: record.id,
    backup_name: record.display_name,
    backup_description: record.display_description,
    created_at: pythonTime(record.created_at),
    volume_id: record.volume_id,
  }
}

/** ISO 8601 text as `str()` of Python's datetime; text of another form as it is. */
function pythonTime(iso: string | null): string {
  const parts = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)?$/.exec(iso ?? '')
  if (parts === null) return iso ?? 'None'
  const [, date, time, fraction = '', zone = 'Z'] = parts
  const micros = fraction.slice(1, 7).padEnd(6, '0')
  const seconds = Number(micros) === 0 ? time : `${time}.${micros}`
  return `${date} ${seconds}${zone === 'Z' ? '+00:00' : zone}`
}

/**
 * The text of a document around the list under `listKey`: what stands before its first element and
 * after its last, without the brackets.
 */
export function documentFrame(
  members: Readonly<Record<string, Json>>,
  listKey: string,
): { readonly head: string; readonly tail: string } {
  const mark = '\u0000'
  const text = pythonIndented({ ...members, [listKey]: mark })
  const at = text.indexOf(`"${listKey}": "\\u0000"`)
  const split = at + listKey.length + '"": '.length
  return { head: text.slice(0, split), tail: text.slice(split + '"\\u0000"'.length) }
}
