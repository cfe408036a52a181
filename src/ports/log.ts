/** Ids and numbers of one event. Secrets never; errors under the key `error`. */
export type LogFields = Readonly<Record<string, unknown>>

/**
 * Where events are told. The message is a constant phrase, the fields carry what varies. Never
 * throws and never blocks.
 */
export interface Log {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  /** A log that adds `fields` to each of its lines. */
  child(fields: LogFields): Log
}
