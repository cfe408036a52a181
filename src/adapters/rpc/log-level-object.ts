import { AgentError } from '../../domain/errors.ts'
import { isJsonObject, type Json, type JsonObject } from '../../domain/json.ts'
import type { LogLevel } from '../../ports/log.ts'

/** Source: cinder/utils.py, `LOG_LEVELS` and `get_log_method`. */
const cinderNames = { debug: 'DEBUG', info: 'INFO', warn: 'WARNING', error: 'ERROR' } as const

export type LogRequest = { readonly prefix: string; readonly level: string }

/**
 * Cinder's LogLevel 1.0, or a plain object with the same fields: missing ones are empty. Throws
 * ARGUMENT_INVALID where it is something else. Source: cinder/objects/dynamic_log.py.
 */
export function logRequestFrom(json: Json | undefined): LogRequest {
  const data = isJsonObject(json) ? (json['versioned_object.data'] ?? json) : null
  const name = isJsonObject(json) ? (json['versioned_object.name'] ?? 'LogLevel') : null
  if (!isJsonObject(data) || name !== 'LogLevel') {
    throw new AgentError('ARGUMENT_INVALID', 'argument log_request is not a LogLevel')
  }
  return { prefix: textOf(data, 'prefix'), level: textOf(data, 'level') }
}

function textOf(data: JsonObject, field: string): string {
  const value = data[field] ?? ''
  if (typeof value === 'string') return value
  throw new AgentError('ARGUMENT_INVALID', `argument log_request.${field} is not a string`)
}

/** The level of that name, in whatever case. Throws ARGUMENT_INVALID, with Cinder's words. */
export function levelNamed(text: string): LogLevel {
  const wanted = text.toUpperCase()
  for (const [level, name] of Object.entries(cinderNames)) {
    if (name === wanted) return level as LogLevel
  }
  const reason = `${text.slice(0, 80)} is not a valid log level.`
  throw new AgentError('ARGUMENT_INVALID', `Invalid input received: ${reason}`, { reason })
}

/** Cinder's LogLevelList 1.0, as its services answer with it. */
export function logLevelList(levels: Iterable<readonly [string, LogLevel]>): JsonObject {
  const objects = Array.from(levels, ([prefix, level]) =>
    versionedObject('LogLevel', { prefix, level: cinderNames[level] }),
  )
  return versionedObject('LogLevelList', { objects })
}

function versionedObject(name: string, data: JsonObject): JsonObject {
  return {
    'versioned_object.name': name,
    'versioned_object.namespace': 'cinder',
    'versioned_object.version': '1.0',
    'versioned_object.data': data,
    'versioned_object.changes': Object.keys(data),
  }
}
