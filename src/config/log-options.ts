import path from 'node:path'

import type { LogOptions } from '../adapters/log/winston-log.ts'
import type { Machine } from './machine.ts'
import type { Settings } from './schema.ts'

/** Where and how to log. Source: oslo_log/log.py, `_find_facility` and `_get_log_file_path`. */
export function logOptions(
  values: Settings['DEFAULT'],
  secrets: readonly string[],
  machine: Machine,
): LogOptions {
  const name = values.log_file ?? (values.log_dir === null ? null : 'cinder-backup-agent.log')
  const file = name === null ? null : path.resolve(values.log_dir ?? '.', name)
  const isJournal = values.use_journal || (file === null && machine.isJournalStream)
  return {
    format: values.use_json ? 'json' : isJournal ? 'journald' : 'oslo',
    level: values.debug ? 'debug' : 'info',
    file: isJournal ? null : file,
    secrets,
  }
}
