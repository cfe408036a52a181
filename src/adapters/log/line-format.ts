import process from 'node:process'

import type { LogLevel } from '../../ports/log.ts'
import type { Plain, PlainFields } from './plain-fields.ts'

export type LogFormat = 'oslo' | 'json' | 'journald'

/** What one line tells. */
export type LogEntry = {
  readonly level: LogLevel
  /** Of the log that tells it. */
  readonly name: string
  readonly message: string
  readonly fields: PlainFields
  readonly at: Date
}

const lineCharactersMax = 16_384

const levelNames = { debug: 'DEBUG', info: 'INFO', warn: 'WARNING', error: 'ERROR' } as const
// Source: sd-daemon(3), the syslog priorities.
const priorities = { debug: 7, info: 6, warn: 4, error: 3 } as const

// Line breaks of every kind, terminal controls, and what makes text run backwards.
const unprintable =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not get out.
  /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]|\p{Surrogate}/gu

/** Text in which one record stays one line, whatever a sender wrote into it. */
function printable(text: string): string {
  return text.replace(
    unprintable,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** One line, without its end. */
export function formatLine(format: LogFormat, entry: LogEntry): string {
  const line = format === 'json' ? jsonLine(entry) : textLine(format, entry)
  return line.length <= lineCharactersMax ? line : shortened(format, entry)
}

/** The same event without its fields, which made it too long; its ids are kept. */
function shortened(format: LogFormat, entry: LogEntry): string {
  const ids = Object.entries(entry.fields).filter(
    ([name, value]) => name.endsWith('id') && typeof value === 'string' && value.length <= 100,
  )
  const fields = { ...Object.fromEntries(ids), cut: 'the line was too long' }
  return formatLine(format, { ...entry, message: entry.message.slice(0, 4096), fields })
}

function jsonLine({ level, name, message, fields, at }: LogEntry): string {
  const own = {
    timestamp: at.toISOString(),
    level: levelNames[level],
    name,
    process: process.pid,
    message,
  }
  const taken = Object.entries(fields).map(([key, value]) => [
    key in own ? `field_${key}` : key,
    value,
  ])
  return printable(JSON.stringify({ ...own, ...Object.fromEntries(taken) }))
}

/**
 * `2026-11-22 10:11:12.345 PID LEVEL cinder_backup_agent [req-… user project] message key=value`, in
 * local time as oslo.log writes it. journald keeps time and process itself and takes a priority.
 */
function textLine(format: LogFormat, { level, name, message, fields, at }: LogEntry): string {
  const { request_id: requestId, user_id: userId, project_id: projectId, ...rest } = fields
  const ids = [requestId, userId, projectId]
  const who = ids.every((id) => id === undefined || id === null) ? '-' : ids.map(bare).join(' ')
  const pairs = Object.entries(rest).flatMap(([key, value]) => textPairs(key, value))
  const head = format === 'journald' ? `<${priorities[level]}>` : `${localTime(at)} ${process.pid} `
  const text = [`${levelNames[level]} ${name} [${who}]`, message, ...pairs].join(' ')
  return head + printable(text)
}

function bare(id: Plain | undefined): string {
  return id === undefined || id === null ? '-' : textValue(id)
}

/** An error becomes several pairs: `error=CODE error_message="…" error_causes=[…]`. */
function textPairs(key: string, value: Plain): readonly string[] {
  const name = /^[\w.-]+$/.test(key) ? key : JSON.stringify(key)
  if (typeof value === 'object' && value !== null && 'code' in value && 'message' in value) {
    const { code, ...parts } = value as PlainFields
    const more = Object.entries(parts).map(([part, of]) => `${name}_${part}=${textValue(of)}`)
    return [`${name}=${bare(code)}`, ...more]
  }
  return [`${name}=${textValue(value)}`]
}

function textValue(value: Plain): string {
  return typeof value === 'string' && /^[^\s"'=[\]{}]+$/.test(value) ? value : JSON.stringify(value)
}

function localTime(at: Date): string {
  const two = (value: number) => String(value).padStart(2, '0')
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`
  return `${day} ${time}.${String(at.getMilliseconds()).padStart(3, '0')}`
}
