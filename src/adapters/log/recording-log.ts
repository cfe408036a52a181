import type { Log, LogFields, LogLevel, LogLevels, SecretKeeper } from '../../ports/log.ts'
import { levelTable, rootName } from './level-table.ts'
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
  const logWith = (name: string, given: LogFields): Log => {
    const tell = (level: LogLevel) => (message: string, fields?: LogFields) => {
      if (!table.isWritten(name, level)) return
      lines.push({
        level,
        message: plainText(message, secrets),
        fields: plainFields(secrets, given, fields),
      })
    }
    return {
      debug: tell('debug'),
      info: tell('info'),
      warn: tell('warn'),
      error: tell('error'),
      child: (fields) => logWith(name, { ...given, ...fields }),
      named: (part) => logWith(table.add(name, part), given),
    }
  }
  return {
    ...logWith(rootName, {}),
    levels: table.levels,
    setLevel: table.setLevel,
    lines,
    addSecret: (value) => secrets.add(value),
    maskSecrets: (text) => secrets.mask(text),
  }
}
