import type { Log, LogLevel, LogLevels, SecretKeeper } from '../../ports/log.ts'
import { levelledLog, levelTable } from './level-table.ts'
import { type PlainFields, plainFields, plainText } from './plain-fields.ts'
import { secretValues } from './secrets.ts'

export type RecordedLine = {
  readonly level: LogLevel
  readonly message: string
  /** Under the names and in the form in which a line would show them. */
  readonly fields: PlainFields
}

/** A log that remembers, for an agent that runs in memory. */
export type RecordingLog = Log &
  LogLevels &
  SecretKeeper & { readonly lines: readonly RecordedLine[] }

export function recordingLog(): RecordingLog {
  const lines: RecordedLine[] = []
  const secrets = secretValues([])
  const table = levelTable('debug')
  const log = levelledLog(table, ({ level, message, given, fields }) => {
    lines.push({
      level,
      message: plainText(message, secrets),
      fields: plainFields(secrets, given, fields),
    })
  })
  return {
    ...log,
    levels: table.levels,
    setLevel: table.setLevel,
    lines,
    addSecret: (value) => secrets.add(value),
    maskSecrets: (text) => secrets.mask(text),
  }
}
