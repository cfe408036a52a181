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
  /** The log of a part of the agent, `<name of this>.<part>`, whose level can be set by that name. */
  named(part: string): Log
}

/** From the least to the most important. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

/** The least important level that each log still writes, by its name. */
export interface LogLevels {
  levels(): ReadonlyMap<string, LogLevel>

  /** Changes at once all that `isMeant`; their children, and what is named later, follow them. */
  setLevel(isMeant: (name: string) => boolean, level: LogLevel): void
}

/** Who knows what must not be read, and hides it. */
export interface SecretKeeper {
  /** Hides `value` from now on, in every line of the log too. */
  addSecret(value: string): void
  /** A text without the secrets, for others than the log. */
  maskSecrets(text: string): string
}
