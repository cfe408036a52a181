// From whatever a caller hands to the log to a small, plain, harmless value: no secret in it, no
// cycle, nothing large. Never throws.

import { AgentError } from '../../domain/errors.ts'
import type { Secrets } from './secrets.ts'

export type Plain =
  | null
  | boolean
  | number
  | string
  | readonly Plain[]
  | { readonly [key: string]: Plain }

export type PlainFields = { readonly [key: string]: Plain }

const depthMax = 6
const entriesMax = 50
const charactersMax = 2048
// More is looked at for secrets, so that none is cut in two and shows in part.
const charactersRead = 65_536
const secretLengthMax = 16_384
const causesMax = 8

/** `requestId` → `request_id`: one id is found under one name in every log of the cloud. */
function snakeCase(key: string): string {
  return key.replace(/([a-z0-9])([A-Z])/g, '$1_$2').toLowerCase()
}

/** The fields of all of `parts` under snake_case names, as plain values, secrets masked. */
export function plainFields(secrets: Secrets, ...parts: readonly unknown[]): PlainFields {
  return Object.assign({}, ...parts.map((part) => plainPart(part, secrets)))
}

function plainPart(part: unknown, secrets: Secrets): PlainFields {
  if (typeof part !== 'object' || part === null) return {}
  try {
    return plainObject(part, secrets, 0, new Set([part]))
  } catch {
    return { fields: '[unreadable]' }
  }
}

/** A text without secrets, cut to what a line can carry. */
export function plainText(text: string, secrets: Secrets): string {
  const masked = secrets.mask(text.slice(0, charactersRead))
  if (masked.length <= charactersMax && text.length <= charactersRead) return masked
  // The end of what was read may be the beginning of a secret.
  const whole = text.length <= charactersRead ? masked.length : masked.length - secretLengthMax
  return `${masked.slice(0, Math.max(0, Math.min(charactersMax, whole)))}… (${text.length} characters)`
}

function plain(value: unknown, secrets: Secrets, depth: number, above: Set<object>): Plain {
  switch (typeof value) {
    case 'string':
      return plainText(value, secrets)
    case 'number':
      return Number.isFinite(value) ? value : String(value)
    case 'boolean':
      return value
    case 'bigint':
      return String(value)
    case 'object':
      return value === null ? null : plainObjectOrText(value, secrets, depth, above)
    default:
      return `[${typeof value}]`
  }
}

function plainObjectOrText(
  value: object,
  secrets: Secrets,
  depth: number,
  above: Set<object>,
): Plain {
  if (above.has(value)) return '[circular]'
  if (depth >= depthMax) return '[nested too deep]'
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer)
    return `[${value.byteLength} bytes]`
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString()
  if (value instanceof URL) return plainText(value.href, secrets)
  if (value instanceof Error) return plainError(value, secrets, depth, above)
  const within = new Set(above).add(value)
  if (value instanceof Map) return plainObject(Object.fromEntries(value), secrets, depth, within)
  if (Array.isArray(value) || value instanceof Set) {
    const items = [...value].slice(0, entriesMax)
    const rest = (Array.isArray(value) ? value.length : value.size) - items.length
    const plainItems = items.map((item) => plain(item, secrets, depth + 1, within))
    return rest > 0 ? [...plainItems, `… (${rest} more)`] : plainItems
  }
  return plainObject(value, secrets, depth, within)
}

function plainObject(
  value: object,
  secrets: Secrets,
  depth: number,
  above: Set<object>,
): PlainFields {
  const result: Record<string, Plain> = {}
  const keys = Object.keys(value)
  for (const key of keys.slice(0, entriesMax)) {
    const name = plainText(snakeCase(key), secrets)
    try {
      const field: unknown = Reflect.get(value, key)
      if (field === undefined) continue
      const isShown = field === null || typeof field === 'boolean' || !secrets.isSecretName(name)
      result[name] = isShown ? plain(field, secrets, depth + 1, above) : '***'
    } catch {
      result[name] = '[unreadable]' // A getter that throws, or a proxy that was revoked.
    }
  }
  if (keys.length > entriesMax) result['…'] = `${keys.length - entriesMax} more`
  return result
}

/** Code, message, causes and context; the stack only where the error is a bug of ours. */
function plainError(error: Error, secrets: Secrets, depth: number, above: Set<object>): Plain {
  const isDefect = !(error instanceof AgentError) || error.kind === 'defect'
  const context = error instanceof AgentError ? error.context : {}
  return {
    code: plainText(codeOf(error), secrets),
    message: plainText(error.message, secrets),
    ...(Object.keys(context).length > 0 && {
      context: plainObject(context, secrets, depth + 1, new Set(above).add(error)),
    }),
    ...(error.cause !== undefined && { causes: causesOf(error, secrets) }),
    ...(isDefect && { stack: plainText(error.stack ?? '', secrets) }),
  }
}

/** Our code, or the system's (`ECONNREFUSED`), or the class. */
function codeOf(error: Error): string {
  const code: unknown = Reflect.get(error, 'code')
  return typeof code === 'string' ? code : error.name
}

function causesOf(error: Error, secrets: Secrets): readonly string[] {
  const causes: string[] = []
  for (let cause = error.cause; causes.length < causesMax; cause = cause.cause) {
    if (!(cause instanceof Error)) {
      return cause === undefined ? causes : [...causes, plainText(String(cause), secrets)]
    }
    causes.push(plainText(`${codeOf(cause)}: ${cause.message}`, secrets))
  }
  return causes
}
