import type { Log, LogFields, LogLevel, LogLevels } from '../../ports/log.ts'

/** The name of the agent's own log; those of its parts begin with it. */
export const rootName = 'cinder_backup_agent'

const ranks: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 }

export type LevelTable = LogLevels & {
  /** Makes a name known, with the level of what it is a part of; returns it. */
  add(name: string, part: string): string
  isWritten(name: string, level: LogLevel): boolean
}

/** Which lines are written, log by log; all begin with `level`. */
export function levelTable(level: LogLevel): LevelTable {
  const levels = new Map<string, LogLevel>([[rootName, level]])
  const levelOf = (name: string) => levels.get(name) ?? level
  return {
    levels: () => levels,
    setLevel(isMeant, wanted) {
      for (const name of levels.keys()) if (isMeant(name)) levels.set(name, wanted)
    },
    add(name, part) {
      const whole = `${name}.${part}`
      if (!levels.has(whole)) levels.set(whole, levelOf(name))
      return whole
    },
    isWritten: (name, told) => ranks[told] >= ranks[levelOf(name)],
  }
}

/** What is told before it is made a line: `given` are the fields of the log, `fields` those of the call. */
export type Told = {
  readonly level: LogLevel
  readonly name: string
  readonly message: string
  readonly given: LogFields
  readonly fields: LogFields | undefined
}

/** The root log with its children and parts; `write` gets what the table lets through. */
export function levelledLog(table: LevelTable, write: (told: Told) => void): Log {
  const logWith = (name: string, given: LogFields): Log => {
    const tell = (level: LogLevel) => (message: string, fields?: LogFields) => {
      if (table.isWritten(name, level)) write({ level, name, message, given, fields })
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
  return logWith(rootName, {})
}
