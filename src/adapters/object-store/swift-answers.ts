import { AgentError, type ErrorCode } from '../../domain/errors.ts'

/** A request as messages name it: `put volumebackups/volume_…-00001`. */
export type SwiftAction = {
  readonly verb: string
  readonly container: string | null
  readonly name: string | null
  /** Path of the account, for the message on what it may not do. */
  readonly account: string
}

export type SwiftAnswer = {
  readonly status: number
  /** Lower-case names; the first value of each. */
  readonly headers: Readonly<Record<string, string>>
  /** The beginning of an error's body. */
  readonly text: string
}

// What Swift's answers mean to us. Anything that is not listed and below 500 is STORE_REFUSED.
// Source: swiftclient/client.py, Connection._retry: 408, 429, 498 and 5xx are tried again.
const codeByStatus: Readonly<Record<number, ErrorCode>> = {
  401: 'TOKEN_EXPIRED',
  403: 'STORE_FORBIDDEN',
  404: 'OBJECT_NOT_FOUND',
  408: 'STORE_UNAVAILABLE',
  413: 'OBJECT_TOO_LARGE',
  422: 'UPLOAD_CORRUPT', // The body's md5 is not the ETag that we sent with it.
  429: 'STORE_UNAVAILABLE',
  498: 'STORE_UNAVAILABLE', // Swift's own rate limiter.
  499: 'STORE_UNAVAILABLE', // Swift lost our connection.
}

// What an operator can do about it, where there is something.
const advice: Partial<Record<ErrorCode, string>> = {
  TOKEN_EXPIRED:
    "also at the second try; check that swift and keystone know each other, and that the role of a service token is in swift's service_token_roles",
  OBJECT_TOO_LARGE: 'the object is larger than the cluster allows; use a smaller object size',
  STORE_FULL: 'a quota of the account or the container is used up; raise it or delete backups',
}

/** Whether the same request may be answered otherwise later. */
export function isPassing(status: number): boolean {
  return status >= 500 || codeByStatus[status] === 'STORE_UNAVAILABLE'
}

/** The failure that an answer outside 2xx means. */
export function swiftError(action: SwiftAction, answer: SwiftAnswer): AgentError {
  const code = codeOf(action, answer)
  const parts = [`${describe(action)}: swift answered ${answer.status}`]
  const hint = hintOf(code, action, answer)
  if (hint !== null) parts.push(hint)
  return new AgentError(code, parts.join('; '), {
    container: action.container,
    name: action.name,
    status: answer.status,
    transactionId: answer.headers['x-trans-id'] ?? null,
    answer: plainText(answer.text),
    retryAfterMs: retryAfterMs(answer),
  })
}

function codeOf({ verb }: SwiftAction, { status, text }: SwiftAnswer): ErrorCode {
  if (status >= 500) return 'STORE_UNAVAILABLE'
  if (status === 413 && /quota/i.test(text)) return 'STORE_FULL'
  if (status === 404 && verb !== 'get') return 'CONTAINER_NOT_FOUND'
  return codeByStatus[status] ?? 'STORE_REFUSED'
}

function hintOf(code: ErrorCode, action: SwiftAction, answer: SwiftAnswer): string | null {
  const { status, headers, text } = answer
  if (status === 507) return 'no space is left on its devices'
  if (status >= 300 && status < 400) {
    const to = headers['location'] ?? ''
    const where = URL.canParse(to) ? ` to ${new URL(to).origin}` : ''
    return `redirects${where} are not followed; set backup_swift_url to the final address`
  }
  if (code === 'STORE_FORBIDDEN') {
    return `the token has no role on ${action.account} that allows it; give its user an operator role there`
  }
  // What is not foreseen is best told in its own words.
  if (code === 'STORE_REFUSED' && plainText(text) !== '') return plainText(text)
  return advice[code] ?? null
}

/** `put container/object`; what has no name of its own is the account's. */
export function describe({ verb, container, name, account }: SwiftAction): string {
  const where = [container, name].filter((part) => part !== null).join('/')
  return `${verb} ${where === '' ? account : where}`
}

/** Seconds or a date, as RFC 9110 10.2.3 has it; null where there is none. */
function retryAfterMs({ headers }: SwiftAnswer): number | null {
  const value = headers['retry-after']
  if (value === undefined) return null
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1000
  const untilMs = Date.parse(value)
  const serverNowMs = Date.parse(headers['date'] ?? '') // Its clock, not ours, set the date.
  return Number.isNaN(untilMs - serverNowMs) ? null : Math.max(0, untilMs - serverNowMs)
}

const charactersMax = 200

/**
 * Swift's errors are small pages of HTML: their words, printable, at most 200 characters. The last word
 * is whole or not there: half of a token would be known to nobody as a secret.
 */
function plainText(html: string): string {
  const text = html
    .replaceAll(/<[^>]*>/g, ' ')
    .replaceAll(/[^\x20-\x7e]+/g, ' ')
    .replaceAll(/ {2,}/g, ' ')
    .trim()
  return text.length <= charactersMax ? text : text.slice(0, charactersMax).replace(/ ?\S*$/, '')
}
