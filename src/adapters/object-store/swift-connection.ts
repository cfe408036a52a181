import type { Readable } from 'node:stream'

import { Agent, buildConnector, type Dispatcher } from 'undici'

import { AgentError, toAgentError } from '../../domain/errors.ts'
import { isTlsRefusal, trustedCertificates } from '../../lib/tls-trust.ts'
import { describe, type SwiftAction } from './swift-answers.ts'

export type SwiftConnectionOptions = {
  /** Certificates to trust instead of Node's and the system's; null: those. */
  readonly caFile: string | null
  /** Whether to trust any certificate. */
  readonly insecure: boolean
  readonly connectMs: number
  /** How long a request may go without a byte in either direction. */
  readonly idleMs: number
}

export type SwiftRequest = {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'DELETE'
  readonly origin: string
  /** Path and query, quoted. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array | Readable | null
}

export type SwiftReply = {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** Must be read to its end or destroyed; `pour` and `textOf` do. */
  readonly body: Readable
}

export interface SwiftConnection extends AsyncDisposable {
  /**
   * Sends one request and resolves when the headers of its answer are there. Redirects are answers
   * like others. Rejects with STORE_UNAVAILABLE, or STORE_REFUSED where TLS says no.
   */
  send(action: SwiftAction, request: SwiftRequest, signal: AbortSignal): Promise<SwiftReply>
}

// An error page worth reading is shorter.
const textBytesMax = 64 * 1024

/** Pooled connections to every proxy of the cluster. Disposing breaks what is still under way. */
export function openSwiftConnection(options: SwiftConnectionOptions): SwiftConnection {
  const agent = new Agent({
    connect: idleWatchingConnector(options),
    // The connector's own watch replaces both: undici counts the sending of a whole Buffer as
    // waiting for headers, so that a slow but moving upload would be cut.
    headersTimeout: 0,
    bodyTimeout: 0,
    keepAliveMaxTimeout: 30_000,
  })

  return {
    send: async (action, { method, origin, path, headers, body }, signal) => {
      try {
        const answer = await agent.request({ origin, path, method, headers, body, signal })
        answer.body.on('error', () => {}) // Whoever reads it learns of it; until then no one listens.
        return {
          status: answer.statusCode,
          headers: firstValues(answer.headers),
          body: answer.body,
        }
      } catch (error) {
        signal.throwIfAborted()
        throw connectionError(action, error)
      }
    },
    [Symbol.asyncDispose]: () => agent.destroy(),
  }
}

/**
 * Hands every piece of `reply` to `take`, one at a time. Rejects with STORE_UNAVAILABLE where the
 * connection breaks, and with what `take` itself rejects with; `take` has ended by then.
 */
export function pour(
  action: SwiftAction,
  { body }: SwiftReply,
  take: (piece: Buffer) => void | Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let taking: Promise<void> = Promise.resolve()
    const fail = (error: unknown) => {
      body.destroy()
      reject(error)
    }
    const onBroken = (error: unknown) => {
      const reason = signal.aborted ? signal.reason : connectionError(action, error)
      taking.then(() => reject(reason), reject)
    }
    if (body.errored !== null) return onBroken(body.errored)

    body.on('error', onBroken)
    body.on('end', () => taking.then(resolve, reject))
    body.on('data', (piece: Buffer) => {
      try {
        const taken = take(piece)
        if (taken === undefined) return
        body.pause()
        taking = taken
        taken.then(() => body.resume(), fail)
      } catch (error) {
        fail(error)
      }
    })
  })
}

/** The text of a body, or the beginning of it where it is longer than `bytesMax`. */
export async function textOf(
  action: SwiftAction,
  reply: SwiftReply,
  signal: AbortSignal,
  bytesMax = textBytesMax,
): Promise<string> {
  const pieces: Buffer[] = []
  let bytes = 0
  const enough = new Error('enough')
  const collect = (piece: Buffer) => {
    pieces.push(piece)
    bytes += piece.byteLength
    if (bytes > bytesMax) throw enough
  }
  await pour(action, reply, collect, signal).catch((error: unknown) => {
    if (error !== enough) throw error
  })
  return Buffer.concat(pieces).toString('utf8')
}

/**
 * A connector whose sockets break after `idleMs` without progress. Node counts what the kernel took
 * of a long write as progress.
 */
function idleWatchingConnector(options: SwiftConnectionOptions): buildConnector.connector {
  const { caFile, insecure, connectMs, idleMs } = options
  const tcp = buildConnector({ timeout: connectMs, allowH2: false })
  let tls: buildConnector.connector | null = null // Reading the system's certificates takes a while.
  const openTls = () =>
    buildConnector({
      timeout: connectMs,
      allowH2: false,
      ca: trusted(caFile),
      rejectUnauthorized: !insecure,
    })
  if (caFile !== null) tls = openTls() // A bad file is the operator's to know at the start.

  return (target, callback) => {
    if (target.protocol === 'https:') tls ??= openTls()
    const connect = target.protocol === 'https:' && tls !== null ? tls : tcp
    connect(target, (...result) => {
      const [, socket] = result
      socket?.setTimeout(idleMs).on('timeout', () => {
        // Bytes that wait for us are no fault of the other side's: our sink is slow.
        if (socket.readableLength > 0) socket.setTimeout(idleMs)
        else socket.destroy(new Error(`no byte came or went for ${idleMs} ms`))
      })
      callback(...result)
    })
  }
}

function trusted(caFile: string | null): string[] {
  try {
    return trustedCertificates(caFile)
  } catch (error) {
    throw new AgentError(
      'CONFIGURATION_INVALID',
      `cannot read the CA file ${caFile}: ${errorText(error)}; see backup_swift_ca_cert_file`,
      { caFile },
      error,
    )
  }
}

// What undici says when we use it wrongly.
const misuse = new Set([
  'UND_ERR_INVALID_ARG',
  'UND_ERR_NOT_SUPPORTED',
  'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH',
  'UND_ERR_DESTROYED',
  'UND_ERR_CLOSED',
])

function connectionError(action: SwiftAction, error: unknown): AgentError {
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

function codeOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : null
  return typeof code === 'string' ? code : ''
}

function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.message === '' ? codeOf(error) : error.message // Several addresses: no message.
}

function firstValues(headers: Dispatcher.ResponseData['headers']): Record<string, string> {
  const values: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) {
    const first = Array.isArray(value) ? value[0] : value
    if (first !== undefined) values[name] = first
  }
  return values
}
