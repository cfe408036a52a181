import type { Log, LogFields } from '../../ports/log.ts'
import type { Level } from './line-format.ts'
import { type PlainFields, plainFields, plainText } from './plain-fields.ts'
import { secretValues } from './secrets.ts'

export type RecordedLine = {
  readonly level: Level
  readonly message: string
  /** Under the names and in the form in which a line would show them. */
  readonly fields: PlainFields
}

/** A log that remembers, for an agent that runs in memory. */
export type RecordingLog = Log & {
  readonly lines: readonly RecordedLine[]
  addSecret(value: string): void
}

export function recordingLog(): RecordingLog {
  const lines: RecordedLine[] = []
  const secrets = secretValues([])
  const logWith = (given: LogFields): Log => {
    const tell = (level: Level) => (message: string, fields?: LogFields) => {
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
      child: (fields) => logWith({ ...given, ...fields }),
    }
  }
  return { ...logWith({}), lines, addSecret: (value) => secrets.add(value) }
}
