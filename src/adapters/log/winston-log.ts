import { Writable } from 'node:stream'

import { createLogger, format, transports } from 'winston'

import { now } from '../../lib/clock.ts'
import type { Log, LogLevel, LogLevels, SecretKeeper } from '../../ports/log.ts'
import { levelledLog, levelTable, rootName } from './level-table.ts'
import { formatLine, type LogEntry, type LogFormat } from './line-format.ts'
import { type LineSink, lineSink } from './line-sink.ts'
import { plainFields, plainText } from './plain-fields.ts'
import { secretValues } from './secrets.ts'

export type LogOptions = {
  readonly format: LogFormat
  /** The least important level that is still written, until it is set anew. */
  readonly level: LogLevel
  /** null: standard error. */
  readonly file: string | null
  /** Values that no line may show. */
  readonly secrets: readonly string[]
}

/** A log that can be told what to hide. Disposing it writes what is left. */
export type WinstonLog = Log &
  LogLevels &
  AsyncDisposable &
  /** A value is hidden in every line from then on, those of children included. */
  SecretKeeper

// Source: triple-beam, by which winston's formats hand on the finished line.
const finishedLine = Symbol.for('message')

export function winstonLog(options: LogOptions): WinstonLog {
  const lostLine = (count: number) =>
    formatLine(options.format, {
      level: 'warn',
      name: rootName,
      message: 'log lines were lost',
      fields: { count },
      at: now(),
    })
  const sink = lineSink(options.file, { lostLine })
  const secrets = secretValues(options.secrets)
  const table = levelTable(options.level)
  const logger = createLogger({
    level: 'debug', // What is written is told by the table, log by log.
    levels: { error: 0, warn: 1, info: 2, debug: 3 },
    format: format((info) => {
      const entry = info as unknown as LogEntry
      return Object.assign(info, { [finishedLine]: formatLine(options.format, entry) })
    })(),
    transports: [new transports.Stream({ stream: writableTo(sink), eol: '' })],
  })

  const log = levelledLog(table, ({ level, name, message, given, fields }) => {
    try {
      const entry = {
        ...{ level, name, at: now() },
        message: plainText(message, secrets),
        fields: plainFields(secrets, given, fields),
      } satisfies LogEntry
      logger.log(entry)
    } catch {
      sink.write('a line could not be logged') // Nothing known leads here; the work goes on.
    }
  })

  return {
    ...log,
    levels: table.levels,
    setLevel: table.setLevel,
    addSecret: (value) => secrets.add(value),
    maskSecrets: (text) => secrets.mask(text),
    [Symbol.asyncDispose]: () => sink[Symbol.asyncDispose](),
  }
}

/** The sink takes everything at once, so that nothing piles up in winston's streams. */
function writableTo(sink: LineSink): Writable {
  return new Writable({
    decodeStrings: false,
    write(line, _encoding, done) {
      sink.write(String(line))
      done()
    },
  })
}
