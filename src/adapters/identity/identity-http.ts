import type { Got } from 'got'

import { AgentError } from '../../domain/errors.ts'
import { isTlsRefusal, trustedCertificates } from '../../lib/tls-trust.ts'

export type IdentityHttpOptions = {
  /** Certificates to trust instead of Node's and the system's; null: those. */
  readonly caFile: string | null
  /** Which option names them, for messages; `backup_swift_ca_cert_file`. */
  readonly caOption?: string
  /** Whether to trust any certificate. */
  readonly insecure: boolean
  /** How long one request may take in all. */
  readonly requestMs: number
}

type IdentityRequest = {
  /** What is attempted, for messages: `log in to http://…/v3 as user backup`. */
  readonly action: string
  readonly method: 'GET' | 'POST'
  readonly url: string
  readonly headers?: Readonly<Record<string, string>>
  readonly json?: unknown
}

export type IdentityReply = {
  readonly status: number
  /** Lower-case names; the first value of each. */
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
}

/**
 * Sends one request to an identity service, resolves to any answer below 500 and follows no redirect.
 * Rejects with IDENTITY_UNAVAILABLE, or ENDPOINT_NOT_FOUND where TLS says no. Errors never carry what
 * was sent: there is a secret in it.
 */
export type AskIdentity = (request: IdentityRequest, signal: AbortSignal) => Promise<IdentityReply>

/** `ask` as it is until `stop` aborts, which ends every request. */
export function stoppable(ask: AskIdentity, stop: AbortSignal): AskIdentity {
  return (request, signal) => ask(request, AbortSignal.any([signal, stop]))
}

const passing = new Set([408, 429])

/** Throws CONFIGURATION_INVALID where the CA file cannot be read. */
export function identityHttp({
  caFile,
  caOption = 'backup_swift_ca_cert_file',
  insecure,
  requestMs,
}: IdentityHttpOptions): AskIdentity {
  if (caFile !== null) trusted(caFile, caOption) // A bad file is the operator's to know at the start.
  let client: Got | null = null

  // Loaded when it is first needed: an agent that shows what it was given never asks, and is 6 MiB smaller.
  async function open(): Promise<Got> {
    const { default: got } = await import('got')
    return got.extend({
      retry: { limit: 0 },
      timeout: { request: requestMs },
      followRedirect: false,
      throwHttpErrors: false,
      headers: { connection: 'close', 'user-agent': 'cinder-backup-agent' }, // Once an hour at most.
    })
  }

  return async ({ action, method, url, headers, json }, signal) => {
    const https = url.startsWith('https:')
      ? { certificateAuthority: trusted(caFile, caOption), rejectUnauthorized: !insecure }
      : {}
    try {
      const body = json === undefined ? {} : { json }
      client ??= await open()
      const answer = await client(url, { method, headers: { ...headers }, https, signal, ...body })
      const reply = {
        status: answer.statusCode,
        headers: firstValues(answer.headers),
        text: answer.body,
      }
      if (reply.status < 500 && !passing.has(reply.status)) return reply
      throw unavailable(action, reply)
    } catch (error) {
      signal.throwIfAborted()
      throw error instanceof AgentError ? error : connectionError(action, caOption, error)
    }
  }
}

function unavailable(action: string, { status, headers }: IdentityReply): AgentError {
  const seconds = headers['retry-after'] ?? ''
  return new AgentError('IDENTITY_UNAVAILABLE', `${action}: answered ${status}`, {
    status,
    retryAfterMs: /^\d{1,9}$/.test(seconds) ? Number(seconds) * 1000 : null,
  })
}

/** Without got's error as the cause: that one holds the whole request, password and all. */
function connectionError(action: string, caOption: string, error: unknown): AgentError {
  const text = error instanceof Error ? error.message : String(error)
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (!isTlsRefusal(code)) {
    return new AgentError('IDENTITY_UNAVAILABLE', `${action}: no answer: ${text}`, { code })
  }
  const message = `${action}: the certificate or TLS was refused (${code}); check ${caOption} and the address`
  return new AgentError('ENDPOINT_NOT_FOUND', message, { code })
}

function trusted(caFile: string | null, caOption: string): string[] {
  try {
    return trustedCertificates(caFile)
  } catch (error) {
    const message = `cannot read the CA file ${caFile}; see ${caOption}`
    throw new AgentError('CONFIGURATION_INVALID', message, { caFile }, error)
  }
}

function firstValues(headers: Readonly<Record<string, string | string[] | undefined>>) {
  const values: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) {
    const first = Array.isArray(value) ? value[0] : value
    if (first !== undefined) values[name] = first
  }
  return values
}
