import { AgentError, toAgentError } from '../../domain/errors.ts'
import { isTlsRefusal } from '../../lib/tls-trust.ts'
import { describe, type SwiftAction } from './swift-answers.ts'

// What undici says when we use it wrongly.
const misuse = new Set([
  'UND_ERR_INVALID_ARG',
  'UND_ERR_NOT_SUPPORTED',
  'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH',
  'UND_ERR_DESTROYED',
  'UND_ERR_CLOSED',
])

/** What it means that no answer, or only a part of it, came. */
export function connectionError(action: SwiftAction, error: unknown): AgentError {
  const code = codeOf(error)
  const context = { container: action.container, name: action.name, code }
  if (misuse.has(code)) return toAgentError(error)
  if (isTlsRefusal(code)) {
    const message = `${describe(action)}: swift's certificate or TLS was refused (${code}); check backup_swift_ca_cert_file and the address`
    return new AgentError('STORE_REFUSED', message, context, error)
  }
  const message = `${describe(action)}: no answer from swift: ${errorText(error)}`
  return new AgentError('STORE_UNAVAILABLE', message, context, error)
}

/** What a socket dies of that goes without a byte for too long. */
export function idleError(idleMs: number): Error {
  return new Error(`no byte came or went for ${idleMs} ms`)
}

export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.message === '' ? codeOf(error) : error.message // Several addresses: no message.
}

function codeOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : null
  return typeof code === 'string' ? code : ''
}
